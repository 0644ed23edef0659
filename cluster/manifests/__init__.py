"""What a cluster elsewhere is made from: one typed description, rendered for KubeRay, Ray's launcher on AWS, and Slurm.

Rendering is pure: nothing here talks to a cloud, and nothing here holds a secret, only names of secrets.
"""
