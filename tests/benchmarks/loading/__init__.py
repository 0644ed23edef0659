"""Parts of `bench_loading.py`: photos, one module per contender, and the runner that measures them.

A contender's module has two functions: `write(job)` turns the folder of photos into what it reads, and `batches(job)`
gives one pass over it as uint8 tensors (B, 3, 384, 192). Where something has to run beforehand, which nobody would
count as loading, it is in a third, `start(job)`. What a module needs it imports at its head: imports are not measured.
"""
