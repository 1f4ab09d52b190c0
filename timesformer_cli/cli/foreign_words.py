"""What people type who know another tool, and what to say here; nothing is done in its place.

The tables answer in words. An answer is given only where every command and option that it names
exists, and every option belongs to the command that was typed, so a table cannot promise too much.
"""

import difflib
import re
import shlex
from collections.abc import Collection, Mapping, Sequence

# Options by command; the commands are the keys.
CommandOptions = Mapping[str, Collection[str]]

NAMED = re.compile(r"tsf ([a-z][a-z-]+)|(?<![\w-])(--[a-z][a-z-]+)")
PAIR = re.compile(r"([a-z][a-z_]*)=(.*)")

# Commands of other tools, and the command here that does the same.
COMMANDS = {
    "predict": "classify",
    "infer": "classify",
    "inference": "classify",
    "recognize": "classify",
    "recognise": "classify",
    "recognition": "classify",
    "classification": "classify",
    "label": "classify",
    "tag": "classify",
    "run": "classify",
    "demo": "classify",
    "pipeline": "classify",
    "analyze": "classify",
    "analyse": "classify",
    "localize": "timeline",
    "localise": "timeline",
    "subtitle": "timeline",
    "subtitles": "timeline",
    "caption": "timeline",
    "embedding": "embed",
    "embeddings": "embed",
    "features": "embed",
    "extract": "embed",
    "extract-features": "embed",
    "encode": "embed",
    "vectors": "embed",
    "find": "search",
    "query": "search",
    "similar": "search",
    "concat": "merge",
    "combine": "merge",
    "webcam": "watch",
    "camera": "watch",
    "stream": "watch",
    "live": "watch",
    "test": "evaluate",
    "val": "evaluate",
    "validate": "evaluate",
    "eval": "evaluate",
    "score": "evaluate",
    "finetune": "train",
    "fine-tune": "train",
    "fit": "train",
    "onnx": "export",
    "server": "serve",
    "webui": "serve",
    "download": "download-weights",
    "fetch": "download-weights",
    "pull": "download-weights",
    "get": "download-weights",
    "list": "models",
    "ls": "models",
    "list-models": "models",
    "model": "models",
    "weights": "models",
    "zoo": "models",
    "show": "info",
    "describe": "info",
    "inspect": "info",
    "bench": "benchmark",
    "profile": "benchmark",
    "speed": "benchmark",
    "cost": "benchmark",
    "checks": "doctor",
    "check": "doctor",
    "env": "doctor",
    "settings": "doctor",
    "cfg": "doctor",
}
# Work of other tools that is none of ours.
ABSENT = {
    "detect": "it names what a whole clip shows, and finds no boxes",
    "detection": "it names what a whole clip shows, and finds no boxes",
    "obb": "it names what a whole clip shows, and finds no boxes",
    "pose": "it names what a whole clip shows, and finds no poses",
    "segment": "it names what a whole clip shows, and marks no pixels",
    "track": "it names what a whole clip shows, and follows no objects",
    "transcribe": "it looks at the pictures of a video, and hears nothing",
    "translate": "it looks at the pictures of a video, and hears nothing",
}

_VIDEO = "give videos without an option: tsf classify VIDEO"
_DATA = "give the data without an option: tsf train DATA, tsf evaluate DATA"
_ONE_WORK = "there is one task, to name what a video shows; leave it out"
_NO_SOUND = "a video is looked at and not heard; leave it out"
_OWN_SIZE = "the size of a picture is the model's own; tsf info MODEL shows it"
_NO_BOXES = "no boxes are found; leave it out"
_QUIET = "notes go to stderr and answers to stdout: 2>/dev/null leaves the answers"
_VERBOSE = "what there is to know is said unasked; --debug shows tracebacks"
_THREADS = "OMP_NUM_THREADS=2 in front of the command sets the model's threads"

# Options of other tools, written with hyphens, and what may be said; the first answer whose options
# the command has is given.
_OPTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("--source --input --video --videos --input-file --file -i", (_VIDEO,)),
    ("--data --dataset --dataset-name --train-file", (_DATA,)),
    (
        "--weights --checkpoint --ckpt --pretrained --model-name --model-path --model-id --arch"
        " --model-name-or-path --model",
        ("say --model", "say --init", "give the model without an option: tsf info MODEL"),
    ),
    (
        "--output-dir --outdir --out-dir --save-dir --project --save-txt",
        ("say --output-dir DIR, a file for each video", "say --output FILE", "say --out FOLDER"),
    ),
    (
        "--out --output-file --save-path --save --save-json --save-csv --name --dest --destination"
        " --output",
        ("say --output FILE", "say --out FOLDER"),
    ),
    ("--srt --vtt", ("say --format srt, or --format vtt",)),
    ("--json", ("say --format json",)),
    ("--csv", ("say --format csv",)),
    ("--jsonl", ("say --format jsonl", "say --format json")),
    ("--markdown --md", ("say --format markdown",)),
    ("--output-format --out-format --fmt --output-type -f", ("say --format",)),
    ("--verbose --loglevel --log-level -loglevel -v", (_VERBOSE,)),
    ("--quiet --silent -q", (_QUIET,)),
    (
        "--threads --num-threads --cpu-threads -threads",
        (f"{_THREADS}, --workers the decoder processes", _THREADS),
    ),
    ("--nproc --num-workers --jobs --processes --num-proc -j", ("say --workers",)),
    ("--topk --topn --top-n --top --top5 --num-labels", ("say --top-k",)),
    ("--candidate-labels --class-names --prompts", ("say --labels",)),
    ("--num-frames --n-frames --clip-len --clip-length --num-segments", ("say --frames",)),
    (
        "--sampling-rate --sample-rate --frame-sample-rate --frame-interval --vid-stride"
        " --frame-stride",
        ("say --stride",),
    ),
    ("--frame-rate --framerate -r", ("say --fps",)),
    (
        "--num-clips --num-crops --clips --crops --augment --tta",
        ("say --views CLIPSxCROPS, such as --views 4x3",),
    ),
    (
        "--batch --bs --per-device-eval-batch-size --per-device-train-batch-size"
        " --train-batch-size --eval-batch-size -b",
        ("say --batch-size",),
    ),
    (
        "--half --fp16 --amp --mixed-precision --float16",
        ("say --dtype float16, or --dtype bfloat16; auto takes what the hardware is fast in",),
    ),
    ("--bf16 --bfloat16", ("say --dtype bfloat16",)),
    ("--fp32 --float32 --full-precision", ("say --dtype float32",)),
    ("--int8 --quantize --load-in-8bit --compute-type", ("say --dtype int8",)),
    ("--torch-dtype --precision", ("say --dtype",)),
    ("--gpu --gpus --cuda --gpu-id --use-cuda", ("say --device cuda, or --device cuda:1",)),
    ("--cpu --no-cuda --use-cpu", ("say --device cpu",)),
    ("--mps", ("say --device mps",)),
    (
        "--imgsz --img-size --img --image-size --crop-size --resolution --input-size --size"
        " --resize -s -vf",
        ("say --image-size", _OWN_SIZE),
    ),
    (
        "--conf --conf-thres --conf-threshold --confidence --threshold --min-score",
        ("no label is held back for its score; --top-k says how many are shown",),
    ),
    ("--iou --iou-thres --max-det --line-width --boxes", (_NO_BOXES,)),
    (
        "--lang --language --beam-size --best-of --word-timestamps --temperature --initial-prompt"
        " --vad-filter -an -vn -acodec",
        (_NO_SOUND,),
    ),
    ("--task --mode", (_ONE_WORK,)),
    ("--token --hub-token --use-auth-token --hf-token", ("HF_TOKEN is the hub's token here",)),
    ("--trust-remote-code", ("no code of a model is ever run; leave it out",)),
    (
        "--model-dir --cache-dir --download-root",
        ("HF_HOME in the environment says where weights lie",),
    ),
    ("--revision", ("say it in the model's name: --model org/name@REVISION",)),
    ("--local-files-only --offline", ("HF_HUB_OFFLINE=1 in front of the command does it",)),
    ("--list-models --list", ("say tsf models",)),
    ("--info --model-info --summary", ("say tsf info MODEL",)),
    ("--lr --lr0", ("say --learning-rate",)),
    ("--epoch --num-train-epochs --num-epochs --max-epochs", ("say --epochs",)),
    ("--resume-from --resume-from-checkpoint", ("say --resume",)),
    ("--gradient-accumulation-steps", ("say --accumulate",)),
    ("--early-stopping --early-stopping-patience", ("say --patience",)),
    ("--freeze --linear-probe", ("say --freeze-backbone",)),
    ("--attentive-probe", ("say --probe attentive",)),
    ("--hub-model-id", ("say --push-to-hub",)),
    ("--dynamic", ("say --batch dynamic",)),
    ("--opset-version", ("say --opset",)),
    (
        "--force --exist-ok -y",
        ("say --overwrite", "files are replaced without asking; leave it out"),
    ),
    ("--show --visualize --view", ("the answer is words: it is printed, and --output keeps it",)),
    ("-ss -t -to", ("say --from and --to", "tsf timeline takes a part of a video")),
    ("--start --start-time --begin", ("say --from", "tsf timeline takes a part of a video")),
    ("--end --end-time --stop", ("say --to", "tsf timeline takes a part of a video")),
    ("--normalize --l2 --l2-normalize", ("say --normalise",)),
    ("--num-shards --shard-id --rank --world-size", ("say --shard I/N, such as --shard 3/16",)),
    ("--version -V", ("say tsf version",)),
)
OPTIONS = {word: answers for words, answers in _OPTIONS for word in words.split()}

# What `key=value` means to a command here; "" is the argument without an option.
KEYS: dict[str, dict[str, str]] = {
    "classify": {
        "source": "",
        "input": "",
        "model": "--model",
        "weights": "--model",
        "device": "--device",
        "batch": "--batch-size",
        "workers": "--workers",
        "vid_stride": "--stride",
    },
    "evaluate": {
        "data": "",
        "model": "--model",
        "weights": "--model",
        "split": "--split",
        "device": "--device",
        "batch": "--batch-size",
        "workers": "--workers",
    },
    "train": {
        "data": "",
        "model": "--init",
        "weights": "--init",
        "epochs": "--epochs",
        "batch": "--batch-size",
        "lr": "--learning-rate",
        "lr0": "--learning-rate",
        "imgsz": "--image-size",
        "patience": "--patience",
        "device": "--device",
        "workers": "--workers",
        "seed": "--seed",
    },
    "export": {"model": "--model", "weights": "--model", "opset": "--opset", "batch": "--batch"},
    "benchmark": {"model": "--model", "device": "--device", "batch": "--batch-size"},
}
EXPORTS = {("format", "onnx"), ("format", "pt2")}
# The commands that take an argument, and what stands for it where none was typed.
ARGUMENTS = {
    "classify": "VIDEO",
    "timeline": "VIDEO",
    "embed": "VIDEO",
    "watch": "SOURCE",
    "merge": "PART",
    "search": "LIBRARY",
    "library": "LIBRARY",
    "evaluate": "DATA",
    "train": "DATA",
    "info": "MODEL",
    "download-weights": "NAME",
}
# Keys that have no counterpart, which are known so that such a word is not taken for a file.
LEFT_OUT = frozenset(
    "task mode imgsz conf iou half name project save save_txt save_conf show verbose classes format"
    " exist_ok max_det augment stream visualize dynamic simplify optimizer pretrained cache plots".split()
)


def is_foreign(word: str) -> bool:
    """Whether the word is a command of another tool, as far as the tables know."""
    plain = _plain(word)
    return plain in ABSENT or plain in COMMANDS or (plain in KEYS and word.endswith(".py"))


def command_hint(typed: str, rest: Sequence[str], commands: CommandOptions) -> str:
    """What to say for a word that is no command; empty where nothing is near it."""
    plain = _plain(typed)
    if plain in ABSENT:
        return f"{ABSENT[plain]}; say: {_line('classify', rest, commands)}"
    target = plain if plain in commands else COMMANDS.get(plain, "")
    if target in commands:
        return f"say: {_line(target, rest, commands)}"
    near = difflib.get_close_matches(plain, commands, n=2)
    return f"did you mean {' or '.join(near)}?" if near else ""


def option_hint(typed: str, command: str, commands: CommandOptions) -> str:
    """What to say for an option that the command lacks; empty where nothing is near it."""
    plain = f"--{_plain(typed[2:])}" if typed.startswith("--") else typed
    own = commands[command]
    if plain in own:
        return f"say {plain}"
    for answer in OPTIONS.get(plain, ()):
        if is_possible(answer, command, commands):
            return answer
    near = difflib.get_close_matches(plain, [name for name in own if name[:2] == "--"], n=3)
    return f"did you mean {' or '.join(near)}?" if near and plain[:2] == "--" else ""


def is_possible(answer: str, command: str, commands: CommandOptions) -> bool:
    """Whether every command that the answer names exists, and every option is of this command."""
    return all(
        named in commands if named else option in commands[command]
        for named, option in NAMED.findall(answer)
    )


def pairs_hint(words: Sequence[str], commands: CommandOptions) -> str:
    """The line to type where words are `key=value` pairs; empty where they are not."""
    pairs = [match.groups() for word in words if (match := PAIR.fullmatch(word))]
    if not any(key in LEFT_OUT.union(*KEYS.values()) for key, _ in pairs):
        return ""
    others = [word for word in words if not PAIR.fullmatch(word)]
    modes = [*others, *(value for key, value in pairs if key == "mode")]
    named = [COMMANDS.get(word, word) for word in modes]
    command = next((name for name in reversed(named) if name in KEYS), "classify")
    tasks = {*COMMANDS, *ABSENT, *KEYS}  # words of a line that are no files
    arguments, options, left = [word for word in others if word not in tasks], [], []
    for key, value in pairs:
        option = KEYS[command].get(key)
        if command == "export" and (key, value) in EXPORTS:
            options.append(f"--{value}")
        elif key == "half" and value.lower() == "true" and "--dtype" in commands[command]:
            options += ["--dtype", "float16"]
        elif option == "":
            arguments.append(value)
        elif option is not None:
            numbered = key == "device" and value.isdecimal()
            options += [option, f"cuda:{value}" if numbered else value]
        elif key not in ("mode", "task"):
            left.append(key)
    said = _line(command, [*arguments, *options], commands)
    return f"say: {said}" + (f" (nothing here is like {', '.join(left)})" if left else "")


def _plain(word: str) -> str:
    return word.lower().removesuffix(".py").replace("_", "-")


def _line(command: str, rest: Sequence[str], commands: CommandOptions) -> str:
    """The command with what was typed behind another one, as far as all of it has a meaning."""
    own, words = commands[command], []
    for word in rest:
        name, equals, value = word.partition("=")
        if not word.startswith("-") or word == "-" or name in own:
            words.append(word)
            continue
        option = KEYS.get(command, {}).get(_plain(name[2:]).replace("-", "_"))
        if option is None:
            option = f"--{_plain(name[2:])}"
        if option and option not in own:
            words = []
            break
        words += [part for part in (option, value if equals else "") if part]
    argument = ARGUMENTS.get(command)
    if argument is None and not any(word.startswith("-") for word in words):
        words = []
    return shlex.join(["tsf", command, *(words or ([argument] if argument else []))])
