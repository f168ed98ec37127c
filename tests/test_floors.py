"""A module imports only from lower floors of the house, or from its own folder."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "overtile"

FLOORS = [
    ["errors"],
    [
        "cache",
        "geometry",
        "image",
        "legend",
        "machine",
        "planes",
        "presets",
        "settings",
        "text",
        "tiles",
    ],
    [
        "contrast",
        "directions",
        "rareclasses",
        *("io", "labels", "metrics", "missing", "normalise", "objects", "pixelweights"),
        *("resample", "sample", "symmetry", "vectors"),
    ],
    ["augment", "losses", "networks", "tileable"],
    [
        "dataset",
        "doctor",
        "engines",
        "fingerprint",
        "layouts",
        "model",
        "optimiser",
        "planning",
        "pruning",
        "step",
    ],
    ["blending", "executors", "file_to_file", "journal", "prediction", "tileplan", "tiler"],
    ["evaluation"],
    ["training"],
    ["jobs", "own_network", "pictures", "report", "segmenter"],
    ["search"],
    ["cli"],
]
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

DOORS = {
    "lightning": {"training"},
    "matplotlib": {"pictures"},
    "jinja2": {"report"},
    "typer": {"cli"},
    "rich": {"cli"},
    "tifffile": {"io"},
    "PIL": {"io", "pictures"},
    "safetensors": {"model", "networks"},
    "timm": {"networks"},
    "torchvision": {"networks"},
    "huggingface_hub": {"networks"},
    "zarr": {"io"},
    "onnx": {"engines"},
    "onnxruntime": {"engines"},
    "openvino": {"engines"},
    "dask": {"executors"},
    "distributed": {"executors"},
    "rasterio": {"io", "vectors"},
    "shapely": {"vectors"},
    "pyogrio": {"vectors"},
    "roifile": {"vectors"},
    "nibabel": {"io"},
    "pydicom": {"io"},
    "highdicom": {"io"},
    "SimpleITK": {"io"},
    "h5py": {"io"},
    "fsspec": {"io"},
    "optuna": {"search"},
}
NO_TORCH_BELOW = 3
FREE_OF_TORCH = {
    *(
        "prediction",
        "blending",
        "file_to_file",
        "executors",
        "tiler",
        "tileplan",
        "journal",
        "evaluation",
    ),
    *("fingerprint", "layouts", "doctor", "pictures", "pruning", "report"),
}


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.append(node.module or "")
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


FILES = [path for path in sorted(SOURCE.rglob("*.py")) if path != SOURCE / "__init__.py"]


def test_every_room_has_a_floor() -> None:
    assert {room(path) for path in FILES} == set(FLOOR_OF)


def test_imports_go_down() -> None:
    wrong = [
        f"{path.relative_to(SOURCE)} imports {name}"
        for path in FILES
        for name in imports(path)
        if name.startswith("overtile.")
        and (other := name.split(".")[1]) in FLOOR_OF
        and other != room(path)
        and FLOOR_OF[other] > FLOOR_OF[room(path)]
    ]
    assert not wrong


def test_outside_libraries_have_one_door() -> None:
    wrong = [
        f"{path.relative_to(SOURCE)} imports {name}"
        for path in FILES
        for name in imports(path)
        if (library := name.split(".")[0]) in DOORS and room(path) not in DOORS[library]
    ]
    assert not wrong


def test_low_floors_and_prediction_import_no_torch() -> None:
    wrong = [
        f"{path.relative_to(SOURCE)} imports {name}"
        for path in FILES
        for name in imports(path)
        if name.split(".")[0] in {"torch", "lightning", "safetensors"}
        and (FLOOR_OF[room(path)] < NO_TORCH_BELOW or room(path) in FREE_OF_TORCH)
    ]
    assert not wrong
