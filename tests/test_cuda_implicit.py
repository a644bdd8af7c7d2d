"""The stiff partner on a CUDA device: in numba's simulator, and as PTX for a real device."""

import textwrap

import pytest

from test_cuda import compiles_for_a_real_device, run_python

SMALL = """
    import json, warnings
    from odekit.integrate import device
    from odekit_kernels.integrators import cuda_implicit as stiff

    threads, make = [], stiff.implicit_kernel
    stiff.implicit_kernel = lambda thread: threads.append(thread) or make(thread)

    def single(activation="erf", **phase):
        noise = xr.DataArray([0.0, 0.3], dims="noise")
        given = dict(tasks="a", duration=3.0, learning_rate=0.5) | phase
        return ok.Problem(
            state=ok.OrderParameters(Q=[[0.3]], R=[[0.1]], T=[[1.0]]), heads={"a": [1.0]},
            tasks={"a": ok.Task([1.0], noise_std=noise)}, activation=activation,
            phases=[ok.Phase(**given)])

    def compare(problem, times, **options):
        "Whether CPU and device agree to the last bit; steps, methods and status of the device."
        found = [ok.solve(problem, t_eval=times, device=d, **options) for d in ("cpu", "cuda")]
        same = all(found[0][v].equals(found[1][v]) for v in found[0].data_vars)
        return [same, int(found[1].n_steps.min()), str(found[1].method.values.ravel()[0]),
                int(found[1].status.max())]
"""


def simulate(code):
    """Run a program where neither CPU nor device is compiled, and return what it prints."""
    plain = {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
    return run_python(textwrap.dedent(SMALL) + textwrap.dedent(code), **plain)


def test_the_simulated_device_takes_the_stiff_steps_of_the_cpu():
    """Equal to the last bit where neither is compiled, for every kind of equations."""
    found = simulate(
        """
        table = ok.Schedule([0.0, 1.0, 3.0], [0.5, 0.7, 0.2])
        by_name = dict(times=[0, 0.5, 2.5, 3.0], rtol=1e-5, method="Rodas5P")
        two = dict(by_name, times=[0, 0.5, 2.5, 5.0])
        cases = {
            "threshold": compare(single(until=0.02, readout_learning_rate=0.2), **by_name),
            "schedule": compare(single(learning_rate=table, weight_decay=0.1), **by_name),
            "two": compare(sweep(tasks={"a": 0.6, "b": 0.4}), **two),
            "relu": compare(sweep("relu", gradient_flow=True), **two),
            "groups": compare(grouped(), **two),
            "network": compare(network(), **two),
        }
        print(json.dumps({"cases": cases, "launched": len(threads)}))
        """
    )
    for name, (same, steps, method, status) in found["cases"].items():
        assert same, name
        assert steps > 4, name
        assert method == "Rodas5P", name
        assert status == 0, name
    assert found["launched"] >= len(found["cases"])


def test_stiff_trajectories_are_handed_over_and_back_on_the_device():
    """In local memory, and in an array of the host's where the system is large."""
    found = simulate(
        """
        # At the end the rate is so small that nothing is stiff, and the state moves again.
        times = [0.0, 3e4, 3.01e4, 6e4]
        rate = ok.Schedule(times, [0.5, 0.5, 1e-4, 1e-4])
        decay = ok.Schedule(times, [0.1, 0.1, 0.5, 0.5])
        both, launched = [], device._launch
        device._launch = lambda here, partner, *rest: (
            both.append(partner[1]) or launched(here, partner, *rest))
        cases = []
        for stiff.LARGEST_LOCAL in (4096, 0):
            problem = single("linear", duration=6e4, learning_rate=rate, weight_decay=decay)
            cases.append(compare(problem, [0, 1.0, 3e4, 6e4], rtol=1e-4, atol=1e-7))
        print(json.dumps({"cases": cases, "rooms": both, "sizes": [t.size for t in threads]}))
        """
    )
    for same, steps, method, status in found["cases"]:
        assert same
        assert steps > 20
        assert method == "RK45 -> Rodas5P -> RK45"
        assert status == 0
    size = found["sizes"][0]
    assert found["rooms"] == [0, 0, 0, 0, size, 0]


@pytest.mark.parametrize("activation", ["erf", "network"])
def test_the_stiff_kernel_compiles_for_a_real_device(activation):
    """That of erf has all activations' functions, until the compiler sees which it is."""
    compiles_for_a_real_device(activation, "stiff")
