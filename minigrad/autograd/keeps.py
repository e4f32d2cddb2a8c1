"""Stage: the tape. In: the name of an op. Out: which of its operands and results its backward reads in PyTorch. On this
depends what a program may change in place between an op and its backward, and which graphs can be differentiated twice;
what minigrad's own backward reads is another matter, and its values never change.
Next: ``handles.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad.autograd.mode import mode

Keeps = tuple[tuple[int, ...], ...]
"""For each operand the operands (0, 1 …) and results (-1, -2 …) that its gradient reads."""

OWN = 1000
"""What backward reads and no Tensor of the program shows, such as a mean that the op computed on its way: nobody
changes it, but it is freed."""

COMPARED = 1001
"""As ``OWN``, but read in comparisons only: the gradient of the gradient does not flow there."""

_OF_ONE: dict[tuple[int, ...], str] = {
    (): "AsStrided Bernoulli Ceil Clone ConstantPadNd Cumsum Deg2Rad DiagEmbed Diagonal Expand FftC2C FftC2R Fill Flip "
        "Floor Frac Mean Neg Permute Rad2Deg Repeat Roll Round Select Sign Slice Split SplitWithSizes Squeeze Sum T "
        "ToCopy Transpose Tril Triu Trunc Unbind Unfold Unsqueeze View",
    (0,): "Abs Acos Acosh AdaptiveAvgPool1D AdaptiveAvgPool2D AdaptiveAvgPool3D Angle Asin Asinh Atan Atanh AvgPool1D "
          "AvgPool2D AvgPool3D Celu Cos Cosh Digamma Elu Erf Erfc Erfinv FftR2C Gelu Glu Hardshrink Hardsigmoid "
          "Hardswish Hardtanh I0 LeakyRelu Lgamma LinalgMatrixExp LocalResponseNorm Log Log10 Log1P Log2 LogSigmoid "
          "Logit Mish NanToNum Nansum Normalize Polygamma Pow ReflectionPad1D ReflectionPad2D ReflectionPad3D "
          "ReplicationPad1D ReplicationPad2D ReplicationPad3D Silu Sin Sinc Sinh Softplus Softshrink SpecialEntr "
          "Threshold Var VarMean",
    (-1,): "Exp Exp2 Expm1 LinalgCholeskyEx LinalgInvEx LogSoftmax Reciprocal Relu Rsqrt Sigmoid "
           "Softmax Sqrt Tan Tanh",
    (-1, 0): "Amax Amin CholeskyInverse Cumprod LinalgDet LinalgVectorNorm Logcumsumexp Logsumexp Median Nanmedian "
             "Pdist Prod Sgn Std SpecialErfcx SpecialLogNdtr StdMean",
    (-2, 0): "FractionalMaxPool2D FractionalMaxPool3D",
    (-3, 0): "AdaptiveMaxPool1D AdaptiveMaxPool2D AdaptiveMaxPool3D MaxPool1DWithIndices MaxPool2DWithIndices "
             "MaxPool3DWithIndices",
    (-2, -1, 0): "Aminmax",
    (-2,): "Frexp Max Min", (-2, -1): "LinalgEigh LinalgLuFactorEx LinalgQr", (-3, -2, -1): "LinalgSvd",
    (OWN,): "CircularPad ClampMin Rrelu",
}
"""Ops of one operand, by what they read."""

_SECOND_FORMS = {"MeanBackward1": (), "SumBackward1": (), "SqueezeBackward1": (), "RsubBackward1": (),
                 "DivBackward1": (), "MulBackward1": (), "RoundBackward1": (), "ProdBackward1": (-1, 0),
                 "MaxBackward1": (-1, 0), "MinBackward1": (-1, 0)}

_EACH_OTHER, _BOTH = ((1,), (0,)), ((0, 1), (0, 1))
_INDEXES = tuple(range(1, 9))

_OF_SEVERAL: dict[str, Keeps] = {
    "AddBackward0": ((), ()), "SubBackward0": ((), ()), "RsubBackward0": ((), ()),
    **{f"{name}Backward0": ((), (2,), (1,)) for name in ("Addmm", "Addmv", "Addbmm", "Baddbmm", "Addr", "Addcmul")},
    "AddcdivBackward0": ((2,), (2,), (1, 2)), "FmodBackward0": ((),), "FmodBackward1": ((), (0, 1)),
    "RemainderBackward0": ((),), "MulBackward0": _EACH_OTHER, "DivBackward0": ((1,), (0, 1)),
    "DivBackward2": ((1,), (0, 1)),
    "MmBackward0": _EACH_OTHER, "BmmBackward0": _EACH_OTHER, "MvBackward0": _EACH_OTHER, "DotBackward0": _EACH_OTHER,
    "UnsafeViewBackward0": _EACH_OTHER, "LinearBackward0": ((1,), (0,), ()),
    "ConvolutionBackward0": ((0, 1),) * 3, "LayerNormBackward0": ((0, 1, 2),) * 3,
    "BatchNormBackward0": ((0, 1),) * 3, "BatchNormTrainingBackward0": ((0, 1, OWN),) * 3,
    "GroupNormBackward0": ((0, 1, OWN),) * 3, "InstanceNormBackward0": ((0, OWN),) * 3,
    "RmsNormBackward0": ((0, 1, OWN), (OWN,)), "BilinearBackward0": ((1, 2), (0, 2), (0, 1), ()),
    "ScaledDotProductAttentionBackward0": ((2, OWN), (2, OWN), (OWN,)),
    "LinalgCrossBackward0": _EACH_OTHER, "LinalgSolveTriangularBackward0": ((-1, 0), (-1, 0)),
    "LinalgPinvBackward0": ((-1, 0),), "LinalgSlogdetBackward0": ((-1, 0, OWN),), "DistBackward0": ((-1, 0, 1),) * 2,
    "EmbeddingBagBackward0": ((1, 2, 3, OWN), (), (), (0, 1, 2, OWN)), "SoftmaxBackwardDataBackward0": ((1,), (0, 1)),
    "GridSampler2DBackward0": _BOTH, "GridSampler3DBackward0": _BOTH, "NativeDropoutBackwardBackward0": ((1,), (0,)),
    "SelectScatterBackward0": ((), ()), "SliceScatterBackward0": ((), ()), "DiagonalScatterBackward0": ((), ()),
    "AsStridedScatterBackward0": ((), ()), "LuUnpackBackward0": ((),), "PutBackward0": ((1,), (), (1, 2)),
    "LerpBackward0": ((), ()), "LerpBackward1": ((2,), (2,), (0, 1, 2)),
    "LdexpBackward0": ((-1, 1), (-1,)), "CholeskySolveBackward0": ((-1, 0, 1), (-1, 0, 1)),
    "MaximumBackward0": _BOTH, "MinimumBackward0": _BOTH, "FmaxBackward0": _BOTH, "FminBackward0": _BOTH,
    "Atan2Backward0": _BOTH, "XlogyBackward0": _BOTH, "LogaddexpBackward0": _BOTH, "Logaddexp2Backward0": _BOTH,
    "ComplexBackward0": ((0,), (1,)), "NextafterBackward0": ((0, 1), ()), "PolarBackward0": ((-1,), (-1,)),
    "CdistBackward0": ((-1, 0, 1), (-1, 0, 1)), "HypotBackward0": ((-1, 0), (-1, 1)),
    "CopysignBackward0": ((-1, 0), (-1,)),
    "PowBackward1": ((-1, 0, 1), (-1, 0, 1)), "PowBackward2": ((-1, 0),), "RemainderBackward1": ((), (0, 1)),
    "MseLossBackward0": _BOTH, "SmoothL1LossBackward0": _BOTH, "HuberLossBackward0": _BOTH,
    "BinaryCrossEntropyBackward0": ((0, 1, 2), (0, 1, 2)), "SoftMarginLossBackward0": _BOTH,
    "BinaryCrossEntropyWithLogitsBackward0": ((0, 1, 2, 3), (0, 1, 2, 3)),
    "MultiMarginLossBackward0": ((0, 1, 2),), "MultilabelMarginLossBackward0": ((0, 1),),
    "ClampBackward1": ((0,),), "ClampBackward0": ((0, 1, 2), (0, 1, 2), (0, 1, 2)), "PreluBackward0": _BOTH,
    "SpecialXlog1PyBackward0": _BOTH, "SpecialZetaBackward0": ((), (0, 1)), "SpecialZetaBackward1": ((0,),),
    "ScatterBackward0": ((2,), (2,)), "ScatterAddBackward0": ((), (2,)), "IndexAddBackward0": ((), (1, 2)),
    "IndexCopyBackward0": ((2,), (1, 2)), "LinalgSolveExBackward0": ((-1, 0), (-1, 0)),
    "ScatterReduceBackward0": ((-1, 0, 1, 2), (-1, 0, 1, 2)), "IndexReduceBackward0": ((-1, 0, 1, 2), (-1, 0, 1, 2)),
    "SortBackward0": ((1,),), "TopkBackward0": ((1,),), "KthvalueBackward0": ((1,),), "MedianBackward1": ((1,),),
    "NanmedianBackward1": ((1,),), "ModeBackward0": ((1,),), "CummaxBackward0": ((0, 1),),
    "CumminBackward0": ((0, 1),), "TakeBackward0": ((0, 1),), "MaskedSelectBackward0": ((0, 1),),
    "MaxUnpool1DBackward0": ((1,),), "MaxUnpool2DBackward0": ((1,),), "MaxUnpool3DBackward0": ((1,),),
    "RreluWithNoiseBackward0": ((0,),),
    "WhereBackward0": ((), (0,), (0,)), "MaskedFillBackward0": ((1,), (), (1,)),
    "GatherBackward0": ((0, 1),), "IndexSelectBackward0": ((1,),), "EmbeddingBackward0": ((1,),),
    "IndexBackward0": (_INDEXES,), "IndexPutBackward0": (_INDEXES[1:], _INDEXES[1:]),
    "CatBackward0": (), "StackBackward0": (), "CopyBackwards": (), "CopySlices": (),
}

KEEPS: dict[str, Keeps] = {
    **{f"{name}Backward0": (read,) for read, names in _OF_ONE.items() for name in names.split()},
    **{name: (read,) for name, read in _SECOND_FORMS.items()}, **_OF_SEVERAL,
}
"""By the name of a tape entry. Of an op that is not here it is not known: what its operands become later is not
watched, and it can be differentiated twice if minigrad's own backward reads nothing."""

FLOWS: dict[str, Keeps] = {
    **dict.fromkeys((
        "AmaxBackward0", "AminBackward0", "AminmaxBackward0", "AngleBackward0", "ClampBackward0", "ClampBackward1",
        "ClampMinBackward0", "ComplexBackward0", "CummaxBackward0", "CumminBackward0", "CumprodBackward0",
        "FftR2CBackward0", "FmaxBackward0", "FminBackward0", "FrexpBackward0", "GatherBackward0", "IndexAddBackward0",
        "IndexCopyBackward0", "IndexReduceBackward0", "LogcumsumexpBackward0", "MaskedSelectBackward0", "MaxBackward1",
        "MaximumBackward0", "MedianBackward0", "MinBackward1", "MinimumBackward0", "ModeBackward0",
        "NanToNumBackward0", "NanmedianBackward0", "NansumBackward0", "NextafterBackward0", "ProdBackward0",
        "ProdBackward1", "ScatterReduceBackward0", "TakeBackward0"), ()),
    "AddcdivBackward0": ((), (2,), (1, 2)), "PutBackward0": (),
    "GroupNormBackward0": ((0, 1, OWN), (0, 1, OWN), ()), "LdexpBackward0": ((1,), (-1,)),
    "XlogyBackward0": ((1,), (0, 1)), "SpecialXlog1PyBackward0": ((1,), (0, 1)),
}
"""For each operand where the gradient of its gradient flows, of ops that read more for it: in comparisons, as
exponents, as indices and for their shapes only. Without a row the gradient has the history that its own slopes give it:
of products and running logarithms none where there is one element."""

class Zero:
    """A gradient that is 0 without having been computed; ``zeros`` has its shape and dtype."""

    __slots__ = ("zeros",)

    def __init__(self, zeros: Any) -> None:
        self.zeros = zeros


ZERO = frozenset(("SgnBackward0", "AbsBackward0"))
"""Ops of which PyTorch says that a gradient is 0 without computing it: that of a sign. The entry of the derivative of
``abs``, which is one, has the name of ``abs``."""

_PASSING = """Abs Acos Acosh Add Addcmul Amax Amin Asin Asinh Atan Atan2 Atanh Cat Clone Cos Cosh Deg2Rad Digamma Dot
    Erf Erfc Erfinv Exp Exp2 Expm1 Frac Hypot I0 Ldexp Lerp Lgamma LinalgVectorNorm Log Log10 Log1P Log2 Logaddexp
    Logaddexp2 Logsumexp Mul NanToNum Nansum Permute Polygamma Pow Prod Rad2Deg Rsqrt Sgn Sin Sinh SpecialEntr
    SpecialErfcx SpecialNdtr Sqrt Squeeze Stack Sum T Tan Transpose Unsqueeze Var View"""
ZERO_STAYS: dict[str, tuple[int, ...] | None] = {
    **dict.fromkeys([f"{name}Backward0" for name in _PASSING.split()]),
    **dict.fromkeys(("PowBackward2", "FmodBackward0", "RemainderBackward0", "LerpBackward1", "ProdBackward1",
                     "SqueezeBackward1", "SumBackward1")),
    **dict.fromkeys(("SubBackward0", "DivBackward0", "FmodBackward1", "RemainderBackward1", "CopysignBackward0",
                     "MvBackward0", "ScatterAddBackward0", "IndexAddBackward0", "DistBackward0"), (0,)),
    **dict.fromkeys(("PowBackward1", "XlogyBackward0", "SpecialXlog1PyBackward0"), (1,)), "AddcdivBackward0": (0, 1),
}
"""Ops whose gradient is a product with the one that arrives, or moves it, of all operands (None) or of these: of a
gradient that is 0 without being computed it is so, too, though a slope be infinite."""

ZERO_COMPUTED = {"PowBackward1": (0,)}
"""Operands whose gradient is then 0, though a slope be infinite, but computed: a condition chooses among numbers."""

_reads: dict[tuple[Any, tuple[bool, ...]], tuple[int, ...]] = {}


def reads(kind_of: Any, edges: Sequence[Any]) -> tuple[int, ...]:
    """The operands (0, 1 …) and results (-1, -2 …) that the gradients along these edges read in PyTorch."""
    key = kind_of, tuple([e is not None for e in edges])
    found = _reads.get(key)
    if found is None:
        rows = kind_of.keeps or ()
        every = {position for needed, row in zip(key[1], rows, strict=False) if needed for position in row}
        found = _reads[key] = tuple(sorted(every))
    return found


DETACHED = (
    "Trying to use a saved tensor that has been detached in-place, i.e. with .detach_().This is not supported, please "
    "use out-of-place `.detach()` instead")


def modified(what: str, now: int, then: int) -> RuntimeError:
    """PyTorch's error for a Tensor that backward reads and that was changed in place after the op."""
    hint = ("the backtrace further above shows the operation that failed to compute its gradient. The variable in "
            "question was changed in there or anywhere later. Good luck!" if mode.anomaly else
            "enable anomaly detection to find the operation that failed to compute its gradient, with "
            "torch.autograd.set_detect_anomaly(True, check_nan=False).")
    return RuntimeError("one of the variables needed for gradient computation has been modified by an inplace "
                        f"operation: {what} is at version {now}; expected version {then} instead. Hint: {hint}")
