"""What a training or a sweep will take, told beforehand from a few real steps of it."""
