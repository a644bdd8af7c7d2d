"""Functions that are only ever linked into others: bitcode for these, and no machine code.

Numba optimises every function on its own and turns it into machine code before it is linked into
the one that calls it. What nobody calls from Python needs neither: the caller inlines it, and
optimises the whole once. All of this is numba's private interface: where a version of numba has
another, `PIPELINE` is None, and functions are compiled as numba would.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
from typing import Any

__all__ = ["PIPELINE", "rebuild"]

PIPELINE: Any = None
"""The compiler of such functions, to be given as ``pipeline_class``."""


def _numba(module: str) -> Any:
    return importlib.import_module(f"numba.{module}")


def _handle(library: Any, fndesc: Any, env: Any) -> Any:
    """What numba knows the function by; called from Python, where it has no code, it refuses."""
    name = fndesc.qualname.rpartition(".")[2]
    make = _numba("_dynfunc").make_function
    # Python's own function that sets a TypeError and returns nothing: an address of 0 is a crash.
    refuse = ctypes.cast(ctypes.pythonapi.PyErr_BadArgument, ctypes.c_void_p).value
    return make(fndesc.lookup_module(), name, "", refuse, env, (library,))


with contextlib.suppress(ImportError, AttributeError):
    _Library: Any = _numba("core.codegen").JITCodeLibrary
    _Compiler: Any = _numba("core.compiler").Compiler
    _Lowering: Any = _numba("core.typed_passes").NativeLowering
    _register: Any = _numba("core.compiler_machinery").register_pass

    class _Linked(_Library):  # type: ignore[misc]
        """Code that is optimised where it is inlined."""

        def _optimize_final_module(self) -> None:
            """Nothing: the library that links this one optimises both."""

        def _finalize_final_module(self) -> None:
            self._finalize_dynamic_globals()
            self._verify_declare_only_symbols()
            self._finalized = True

        def get_pointer_to_function(self, name: str) -> int:
            """None: there is no machine code."""
            del name
            return 0

        def serialize_using_object_code(self) -> tuple[str, str, bytes]:
            """The bitcode, all there is."""
            return (self.name, "linked", self._get_module_for_linking().as_bitcode())

    @_register(mutates_CFG=True, analysis_only=False)
    class _LinkedLowering(_Lowering):  # type: ignore[misc]
        """As numba's, into a library without machine code."""

        _name = "odekit_linked_lowering"

        def run_pass(self, state: Any) -> bool:
            state.library = _Linked(state.targetctx.codegen(), state.func_id.func_qualname)
            state.flags.no_compile = True
            super().run_pass(state)
            result = state["cr"]
            handle = _handle(state.library, result.fndesc, result.env)
            state.targetctx.insert_user_function(handle, result.fndesc, [state.library])
            state["cr"] = result._replace(cfunc=handle)
            return True

    class _Pipeline(_Compiler):  # type: ignore[misc]
        """Numba's own, but for the last pass."""

        def define_pipelines(self) -> list[Any]:
            found: list[Any] = super().define_pipelines()
            for pipeline in found:
                for place, (known, said) in enumerate(pipeline.passes):
                    if known is _Lowering:
                        pipeline.passes[place] = (_LinkedLowering, said)
                pipeline._finalized = False
                pipeline.finalize()
            return found

    PIPELINE = _Pipeline


def rebuild(target_context: Any, reduced: tuple[Any, ...]) -> Any:
    """A function from what its cache file holds, `CompileResult._reduce()`."""
    result = _numba("core.compiler").CompileResult
    (name, kind, *data), fndesc, env, signature, objectmode, lifted, note, init, envs = reduced
    if kind != "linked":
        return result._rebuild(target_context, *reduced)
    library = _Linked(target_context.codegen(), name)
    module = importlib.import_module("llvmlite.binding").parse_bitcode(*data)
    library._shared_module = library._final_module = module
    library._finalized = True
    return result(
        target_context=target_context, typing_context=target_context.typing_context,
        library=library, environment=env, entry_point=_handle(library, fndesc, env),
        fndesc=fndesc, type_annotation=note, signature=signature, objectmode=objectmode,
        lifted=lifted, typing_error=None, call_helper=None, metadata=None, reload_init=init,
        referenced_envs=envs,
    )  # fmt: skip
