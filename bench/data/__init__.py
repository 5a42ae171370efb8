"""Data sets: images and labels in memory, from the package, torchvision, folders or Parquet.

`bench.data.catalog` is the way in: `load`, `info`, `validate`, `label` and the `REGISTRY`. Nothing
here imports torch or numpy before a data set is loaded.
"""
