"""A dask cluster in place of processes of this machine."""
