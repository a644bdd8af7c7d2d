"""Files and folders: netCDF, Zarr, checkpoints."""
