"""`python -m nas.export --model FOLDER --onnx --torch-export --hub`: write a model in formats of others."""

from __future__ import annotations

from pathlib import Path

from nas.commands.cli import Parser, parser


def options() -> Parser:
    p = parser("export", "Write a model in formats of others, and check that they answer like it.")
    p.add_argument("--model", type=Path, required=True, help="folder of a model, such as runs/hybrid/models/best")
    p.add_argument("--onnx", action="store_true", help="write model.onnx, checked with onnxruntime")
    p.add_argument("--torch-export", action="store_true", help="write model.pt2, for torch.export.load")
    p.add_argument("--hub", action="store_true", help="write hub/, a folder in the layout of the Hugging Face Hub")
    p.add_argument(
        "--push", metavar="OWNER/NAME",
        help="upload hub/ to this repository of the Hugging Face Hub, created private (needs a token)",
    )  # fmt: skip
    p.add_argument("--license", metavar="NAME", help="of the weights, in the card of hub/, such as cc-by-4.0")
    p.add_argument("--out", type=Path, metavar="FOLDER", help="folder to write to (default: that of the model)")
    return p


def command(argv: list[str]) -> int:
    args = vars(options().parse_args(argv))
    import nas  # only now: --help must not wait for torch
    from nas.terminal import Terminal

    console = Terminal()
    for written in nas.export(args.pop("model"), **args):
        checked = ""
        if written.difference is not None:
            checked = f" (answers within {written.difference:.1e} of the model's on {written.images})"
        console.print(f"{written.path}{checked}", soft_wrap=True)
    if args["push"]:
        console.print(f"uploaded to https://huggingface.co/{args['push']}", soft_wrap=True)
    return 0
