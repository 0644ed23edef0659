"""Parts of `bench_scale.py`: what one image, step, checkpoint or call costs (`units`), what follows from that for many
GPUs (`model`), 64 clients at real servers (`clients`), and the tables (`report`) and the picture of it.
"""
