"""Nets as a page has them: a list of layers as JSON, and one blob of numbers.

`torch.export` writes down what a net computes for one example; each of its operations becomes one
of the few layers that the page's script knows (pages/play/layers.js): products (linear,
convolution, transposed convolution, LSTM), numbers one by one, sums, norms, resampling, and
"gather", which is whatever only moves numbers about. What does not depend on the inputs is
computed here; a batch normalisation becomes part of the layer before it.
"""

import base64
import math
import operator
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.node import map_arg

from simulacra.core.errors import Mistake

FLOAT, HALF, INTEGER, BYTE = "f32", "f16", "i32", "u8"

NUMBERS = {FLOAT: torch.float32, HALF: torch.float16, INTEGER: torch.int32, BYTE: torch.uint8}


class Blob:
    """Numbers one after another, each tensor at a multiple of 4 bytes."""

    def __init__(self) -> None:
        self.data = bytearray()

    def add(self, x: Tensor, kind: str = FLOAT) -> dict[str, Any]:
        """Where a tensor lies: its kind, first byte and count of numbers. Half precision only where
        that is finite."""
        if kind == HALF and not x.half().isfinite().all():
            kind = FLOAT
        numbers = NUMBERS[kind]
        place = {"kind": kind, "at": len(self.data), "count": x.numel()}
        self.data += x.detach().cpu().to(numbers).contiguous().numpy().tobytes()
        self.data += bytes(-len(self.data) % 4)
        return place

    def text(self) -> str:
        """All of it in base 64."""
        return base64.b64encode(bytes(self.data)).decode()


class Value:
    """What a layer makes: its number in the graph, and its shape."""

    def __init__(self, number: int, shape: Sequence[int]):
        self.number, self.shape = number, tuple(int(side) for side in shape)

    @property
    def count(self) -> int:
        """Of its numbers."""
        return math.prod(self.shape)


class Writer:
    """A graph in the making. Layers are dicts: "op", "in" (numbers of values), "out" (the number
    of the first value that it makes), and what the layer needs."""

    def __init__(self, blob: Blob, kind: str):
        self.blob, self.kind = blob, kind
        self.counts: list[int] = []  # of numbers of each value
        self.layers: list[dict[str, Any]] = []
        self.folds: dict[int, tuple[Tensor, Tensor | None]] = {}  # weight and bias, by value made

    def value(self, shape: Sequence[int]) -> Value:
        """A new value."""
        made = Value(len(self.counts), shape)
        self.counts.append(made.count)
        return made

    def layer(self, op: str, inputs: Sequence[Value], shape: Sequence[int], **facts: Any) -> Value:
        """A new layer with one output."""
        made = self.value(shape)
        self.layers.append(
            {"op": op, "in": [one.number for one in inputs], "out": made.number, **facts}
        )
        return made

    def numbers(self, x: Tensor) -> dict[str, Any]:
        """Weights into the blob."""
        return self.blob.add(x, self.kind)

    def constant(self, x: Tensor) -> Value:
        """A value that never changes."""
        return self.layer("constant", [], x.shape, data=self.numbers(x))

    def gather(self, inputs: Sequence[Value], index: Tensor, fill: float = 0.0) -> Value:
        """out[i] = the number index[i] of the inputs laid end to end, or the fill where it is
        below 0. Regular indices are told by strides."""
        flat, total = index.flatten(), sum(one.count for one in inputs)
        if flat.numel() == total and bool((flat == torch.arange(total)).all()):
            facts: dict[str, Any] = {}
        else:
            strides = regular(index)
            if strides is None:
                facts = {"index": self.blob.add(index, INTEGER), "fill": fill}
            else:
                facts = {"sides": list(index.shape), "strides": strides, "from": int(flat[0])}
        return self.layer("gather", inputs, index.shape, **facts)

    def told(self, inputs: dict[str, Value], outputs: dict[str, Value]) -> dict[str, Any]:
        """The graph as JSON."""
        for layer in self.layers:
            if layer["out"] in self.folds:
                weight, bias = self.folds[layer["out"]]
                layer["weight"] = self.numbers(weight)
                layer["bias"] = None if bias is None else self.blob.add(bias)
        named = ({name: one.number for name, one in some.items()} for some in (inputs, outputs))
        first, last = named
        return {"values": self.counts, "layers": self.layers, "inputs": first, "outputs": last}


def regular(index: Tensor) -> list[int] | None:
    """The strides of indices that are from + sum of stride times place, or None."""
    strides = []
    for axis, side in enumerate(index.shape):
        first = index.select(axis, 0).flatten()
        strides.append(int(index.select(axis, 1).flatten()[0] - first[0]) if side > 1 else 0)
    made = index.flatten()[0].clone()
    for axis, (side, stride) in enumerate(zip(index.shape, strides, strict=True)):
        shape = [1] * index.ndim
        shape[axis] = side
        made = made + stride * torch.arange(side).view(shape)
    return strides if bool((index >= 0).all()) and torch.equal(made, index) else None


def graph(
    net: nn.Module,
    inputs: dict[str, Tensor],
    outputs: Sequence[str],
    blob: Blob,
    kind: str = HALF,
) -> dict[str, Any]:
    """What a page needs to compute a net of named inputs, whose shapes are read, with these names
    for what it returns. Weights go into the blob. A Mistake names the first operation that the page
    does not know."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's of LSTMs that lay their weights out anew
        exported = torch.export.export(net.eval(), tuple(inputs.values()))
    writer = Writer(blob, kind)
    known: dict[Any, Any] = {}
    told: list[Value] = []
    signature = exported.graph_signature
    held = {**exported.state_dict, **exported.constants}
    named = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    given = iter([writer.value(x.shape) for x in inputs.values()])
    asked: dict[str, Value] = {}
    for node in exported.graph.nodes:
        if node.op == "placeholder":
            place = named.get(node.name)
            known[node] = held[place].detach() if place else next(given)
            if place is None:
                asked[list(inputs)[len(asked)]] = known[node]
        elif node.op == "call_function":
            args, options = (map_arg(some, known.__getitem__) for some in (node.args, node.kwargs))
            known[node] = computed(writer, node, list(args), dict(options))
        elif node.op == "output":
            told = [symbol(writer, known[one]) for one in node.args[0]]
    return writer.told(asked, dict(zip(outputs, told, strict=False)))


def symbol(writer: Writer, one: Any) -> Value:
    """A value, made of a tensor if it is one."""
    return one if isinstance(one, Value) else writer.constant(one)


def values(things: Any) -> list[Value]:
    """The values among arguments."""
    if isinstance(things, Value):
        return [things]
    if isinstance(things, (list, tuple)):
        return [one for thing in things for one in values(thing)]
    return []


def computed(writer: Writer, node: Any, args: list[Any], options: dict[str, Any]) -> Any:
    """What a node of the exported graph becomes: a tensor if no input is in it, else a value."""
    if node.target is operator.getitem and isinstance(args[0], (list, tuple)):
        return args[0][args[1]]
    name = str(node.target).removeprefix("aten.").partition(".")[0]
    if not values(args) and not values(list(options.values())):
        with torch.no_grad():
            return node.target(*args, **options)
    if name in KEPT:
        return args[0]
    if name in LAYERS:
        return LAYERS[name](writer, node, args, options)
    if name in MOVED:
        return moved(writer, node, args, options)
    raise Mistake(
        f"a page cannot compute {node.target} of this net; it knows "
        f"{', '.join(sorted({*LAYERS, *MOVED, *KEPT}))}"
    )


# --- what only moves numbers ----------------------------------------------------------------------

MOVED = {
    *("view", "reshape", "flatten", "unflatten", "unsqueeze", "squeeze", "select", "slice", "t"),
    *("permute", "transpose", "expand", "expand_as", "view_as", "chunk", "split", "flip"),
    *("split_with_sizes", "pixel_shuffle", "pixel_unshuffle", "cat"),
    *("stack", "pad", "upsample_nearest1d", "upsample_nearest2d", "repeat"),
}
# what changes nothing here, where all numbers are floats and nothing trains
KEPT = {"dropout", "to", "alias", "contiguous", "clone", "detach", "_assert_tensor_metadata"}


def moved(writer: Writer, node: Any, args: list[Any], options: dict[str, Any]) -> Any:
    """Found by giving the operation the places of its inputs' numbers in place of them."""
    inputs, at, places = values(args), 0, []
    for one in inputs:
        places.append(torch.arange(at, at + one.count).view(one.shape))
        at += one.count
    rest = iter(places)

    def swapped(thing: Any) -> Any:
        if isinstance(thing, Value):
            return next(rest)
        if isinstance(thing, Tensor):  # a constant among values, as in cat
            raise Mistake(f"a page cannot mix constants and values in {node.target}")
        return [swapped(one) for one in thing] if isinstance(thing, (list, tuple)) else thing

    fill = 0.0
    if "pad" in str(node.target) and len(args) > 3:
        fill, args = float(args[3]), [*args[:3], -1]
    elif "pad" in str(node.target):
        args = [*args[:3], *["constant"] * (len(args) < 3), -1]
    args = [swapped(one) for one in args]
    if "nearest" in str(node.target):  # of floats alone
        made = node.target(args[0].double(), *args[1:], **options).long()
    else:
        made = node.target(*args, **options)
    if isinstance(made, Tensor):
        return writer.gather(inputs, made, fill)
    return [writer.gather(inputs, one) for one in made]


def spread(writer: Writer, one: Value, shape: Sequence[int]) -> Value:
    """A value broadcast to a shape."""
    if one.shape == tuple(shape):
        return one
    places = torch.arange(one.count).view(one.shape)
    return writer.gather([one], places.expand(shape))


def last(writer: Writer, one: Value, axes: Sequence[int]) -> tuple[Value, list[int]]:
    """A value with these axes moved to its end, and the order in which its axes are now."""
    axes = [axis % len(one.shape) for axis in axes]
    order = [axis for axis in range(len(one.shape)) if axis not in axes] + axes
    places = torch.arange(one.count).view(one.shape).permute(order)
    return writer.gather([one], places), order


# --- layers ---------------------------------------------------------------------------------------

Layer = Callable[[Writer, Any, list[Any], dict[str, Any]], Any]


def shape_of(node: Any) -> tuple[int, ...]:
    """Of what a node makes."""
    return tuple(int(side) for side in node.meta["val"].shape)


def weighed(
    writer: Writer, op: str, x: Value, shape: Sequence[int], weight: Tensor, bias: Tensor | None,
    **facts: Any,
) -> Value:  # fmt: skip
    """A layer with weights, which wait in case a normalisation follows."""
    made = writer.layer(op, [x], shape, **facts)
    writer.folds[made.number] = weight.float(), None if bias is None else bias.float()
    return made


def linear(writer: Writer, node: Any, args: list[Any], options: dict[str, Any]) -> Value:
    """x W' + b over the last axis."""
    x, weight, *bias = args
    rows = x.count // weight.shape[1]
    return weighed(
        writer, "linear", x, shape_of(node), weight, bias[0] if bias else None, rows=rows
    )


def convolution(writer: Writer, node: Any, args: list[Any], options: dict[str, Any]) -> Value:
    """A convolution of one or two axes, plain, of groups, or transposed."""
    names = ["x", "weight", "bias", "stride", "padding"]
    turned = "transpose" in str(node.target)
    names += ["output_padding", "groups", "dilation"] if turned else ["dilation", "groups"]
    told = dict(zip(names, args, strict=False)) | options
    flat = "1d" in str(node.target)

    def pair(name: str, usual: int) -> list[int]:
        given = told.get(name, usual)
        sides = [given] * (1 if flat else 2) if isinstance(given, int) else list(given)
        sides = sides * 2 if len(sides) == 1 and not flat else sides
        return [usual, *sides] if flat else sides

    x, weight = told["x"], told["weight"]
    if pair("dilation", 1) != [1, 1]:
        raise Mistake("a page cannot compute dilated convolutions of this net")
    out = shape_of(node)
    (C, H, W), (c, h, w) = ((*s[1:2], *([1] * flat), *s[2:]) for s in (x.shape, out))
    facts: dict[str, Any] = {"from": [C, H, W], "to": [c, h, w], "stride": pair("stride", 1)}
    facts |= {"pad": pair("padding", 0), "groups": int(told.get("groups", 1))}
    facts["kernel"] = [*([1] * flat), *weight.shape[2:]]
    if isinstance(weight, Value):
        if facts["groups"] != C or c != C or turned or facts["stride"] != [1, 1]:
            raise Mistake("a page cannot compute convolutions with such kernels of this net")
        return writer.layer("cross", [x, weight], out, **facts)
    if turned and facts["groups"] != 1:
        raise Mistake("a page cannot compute transposed convolutions of groups of this net")
    op = "deconv" if turned else "conv"
    return weighed(writer, op, x, out, weight, told.get("bias"), **facts)


def batch_norm(writer: Writer, node: Any, args: list[Any], options: dict[str, Any]) -> Value:
    """A scale and a shift of each channel, put into the layer before if nothing else reads it."""
    x, weight, bias, mean, variance, *_ = args
    eps = args[7]
    scale = (variance + eps).rsqrt() * (1 if weight is None else weight)
    shift = (0 if bias is None else bias) - mean * scale
    before = node.args[0]
    if x.number in writer.folds and len(before.users) == 1:
        kernel, old = writer.folds[x.number]
        turned = next(one for one in writer.layers if one["out"] == x.number)["op"] == "deconv"
        along = [1, -1] if turned else [-1]
        along += [1] * (kernel.ndim - len(along))
        writer.folds[x.number] = (
            kernel * scale.view(along), shift if old is None else old * scale + shift
        )  # fmt: skip
        return x
    each = x.count // len(scale)
    facts = {"scale": writer.blob.add(scale), "shift": writer.blob.add(shift), "each": each}
    return writer.layer("affine", [x], x.shape, **facts)


def group_norm(writer: Writer, node: Any, args: list[Any], options: dict[str, Any]) -> Value:
    """Numbers of each group to mean 0 and variance 1, then a scale and a shift of each channel."""
    x, groups, weight, bias, eps = [*args, *[None] * 5][:5]
    C = x.shape[1]
    ones, zeros = torch.ones(C), torch.zeros(C)
    facts = {"groups": groups, "eps": 1e-5 if eps is None else eps, "channels": C}
    facts["scale"] = writer.blob.add(ones if weight is None else weight)
    facts["shift"] = writer.blob.add(zeros if bias is None else bias)
    return writer.layer("group_norm", [x], x.shape, **facts)


def one_by_one(kind: str) -> Layer:
    """A layer that changes each number alone."""

    def made(writer: Writer, node: Any, args: list[Any], options: dict[str, Any]) -> Value:
        slope = float(args[1]) if kind == "leaky" and len(args) > 1 else 0.01
        return writer.layer("each", [args[0]], args[0].shape, kind=kind, a=slope, b=0.0)

    return made


def clamp(writer: Writer, node: Any, args: list[Any], options: dict[str, Any]) -> Value:
    """No number below a least and none above a most one."""
    low, high = [*args[1:], None, None][:2]
    low = -3e38 if low is None else float(low)
    high = 3e38 if high is None else float(high)
    return writer.layer("each", [args[0]], args[0].shape, kind="clamp", a=low, b=high)


def pairwise(kind: str) -> Layer:
    """A layer of two values, or of a value and a number."""

    def made(writer: Writer, node: Any, args: list[Any], options: dict[str, Any]) -> Value:
        one, other = args[:2]
        how = "sub" if kind == "rsub" else kind
        if kind == "rsub":
            one, other = other, one
        if options.get("alpha", 1) != 1:
            raise Mistake(f"a page cannot compute {node.target} with a factor of this net")
        if isinstance(one, Value) and isinstance(other, (int, float)):
            x, a, b = one, 1.0, 0.0
            a, b = {"mul": (other, 0.0), "div": (1 / other, 0.0)}.get(
                how, (1.0, float(-other if how == "sub" else other))
            )
        elif isinstance(other, Value) and isinstance(one, (int, float)) and how != "div":
            x = other
            a, b = (one, 0.0) if how == "mul" else (-1.0 if how == "sub" else 1.0, float(one))
        else:
            shape = shape_of(node)
            both = [
                symbol(writer, each.expand(shape) if isinstance(each, Tensor) else each)
                for each in (one, other)
            ]
            both = [spread(writer, each, shape) for each in both]
            return writer.layer("pair", both, shape, kind=how)
        return writer.layer("each", [x], x.shape, kind="line", a=float(a), b=float(b))

    return made


def reduced(kind: str) -> Layer:
    """The sum, mean or product over some axes."""

    def made(writer: Writer, node: Any, args: list[Any], options: dict[str, Any]) -> Value:
        x = args[0]
        axes = args[1] if len(args) > 1 and args[1] is not None else list(range(len(x.shape)))
        axes = [axes] if isinstance(axes, int) else list(axes)
        turned, _ = last(writer, x, axes)
        over = math.prod(x.shape[axis] for axis in axes)
        return writer.layer("reduce", [turned], shape_of(node), kind=kind, over=over)

    return made


def softmax(writer: Writer, node: Any, args: list[Any], options: dict[str, Any]) -> Value:
    """Shares over one axis."""
    x, axis = args[:2]
    turned, order = last(writer, x, [axis])
    shares = writer.layer("softmax", [turned], turned.shape, over=x.shape[axis])
    back = (
        torch.arange(x.count)
        .view(turned.shape)
        .permute([order.index(i) for i in range(len(order))])
    )
    return writer.gather([shares], back)


def resampled(writer: Writer, node: Any, args: list[Any], options: dict[str, Any]) -> Value:
    """Whatever means over rows and over columns: other sizes, pooling. Each side is a matrix, found
    by giving the operation pictures of one row or column that is lit."""
    x = args[0]
    H, W = x.shape[2:]

    def of(pictures: Tensor) -> Tensor:
        made: Tensor = node.target(pictures, *args[1:], **options)
        return made[0]

    rows = of(torch.eye(H).view(1, H, H, 1).expand(1, H, H, W).contiguous())[..., 0].T
    cols = of(torch.eye(W).view(1, W, 1, W).expand(1, W, H, W).contiguous())[:, 0].T
    rows = (
        rows / of(torch.ones(1, 1, H, W))[0, 0, 0]
    )  # where it takes less than a mean, as at edges
    some = torch.linspace(-1, 1, H * W).sin().view(1, 1, H, W)
    if not torch.allclose(of(some)[0], rows @ some[0, 0] @ cols.T, atol=1e-4):
        raise Mistake(f"a page cannot compute {node.target} as it is used in this net")
    facts = {"maps": x.count // (H * W), "from": [H, W], "to": [len(rows), len(cols)]}
    facts |= {"rows": writer.blob.add(rows), "cols": writer.blob.add(cols)}
    return writer.layer("resample", [x], shape_of(node), **facts)


def lstm(writer: Writer, node: Any, args: list[Any], options: dict[str, Any]) -> list[Value]:
    """One layer of an LSTM over sequences (N, T, C), in one direction or both: (N, T, D H), and the
    last states h and c, (D, N, H)."""
    x, states, weights, biases, layers, _, _, both, first = args
    if layers != 1 or not first or len(weights) not in (2 + 2 * biases, 2 * (2 + 2 * biases)):
        raise Mistake("a page knows LSTMs of one layer whose batch comes first")
    N, T, C = x.shape
    H, D = weights[1].shape[1], 1 + both
    kept = [symbol(writer, state) for state in states]
    inputs = [x, *kept]
    made = writer.value((N, T, D * H))
    ends = writer.value((D, N, H)), writer.value((D, N, H))
    each = len(weights) // D
    parts = [weights[i * each : (i + 1) * each] for i in range(D)]
    facts = {"sizes": [N, T, C, H], "ways": []}
    for part in parts:
        bias = part[2] + part[3] if biases else torch.zeros(4 * H)
        whole = writer.numbers(torch.cat([part[0], part[1]], 1))
        facts["ways"].append({"weight": whole, "bias": writer.blob.add(bias)})
    ins = [one.number for one in inputs]
    writer.layers.append({"op": "lstm", "in": ins, "out": made.number, **facts})
    return [made, *ends]


LAYERS: dict[str, Layer] = {
    "linear": linear,
    **dict.fromkeys(["conv1d", "conv2d", "conv_transpose2d"], convolution),
    "batch_norm": batch_norm,
    "group_norm": group_norm,
    **{name: one_by_one(name) for name in ("relu", "tanh", "sigmoid", "exp", "softplus")},
    "leaky_relu": one_by_one("leaky"),
    **{name: pairwise(name) for name in ("add", "sub", "mul", "div", "rsub")},
    **{name: reduced(name) for name in ("sum", "mean", "prod")},
    "clamp": clamp,
    "softmax": softmax,
    **dict.fromkeys(
        ["upsample_bilinear2d", "_upsample_bilinear2d_aa", "adaptive_avg_pool2d", "avg_pool2d"],
        resampled,
    ),
    "lstm": lstm,
}
