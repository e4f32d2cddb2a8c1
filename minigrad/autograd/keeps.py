"""Stage: the tape. In: the name of an op. Out: which of its operands and results its backward reads in PyTorch. On this
depends what a program may change in place between an op and its backward, and which graphs can be differentiated twice;
what minigrad's own backward reads is another matter, and its values never change.
Next: ``node.py``."""

from __future__ import annotations

Keeps = tuple[tuple[int, ...], ...]
"""For each operand the operands (0, 1 …) and results (-1, -2 …) that its gradient reads."""

_OF_ONE: dict[tuple[int, ...], str] = {
    (): "AsStrided Bernoulli Ceil Clone ConstantPadNd Cumsum DiagEmbed Diagonal Expand Fill Flip Floor Frac Mean Neg "
        "Permute Repeat Roll Round Select Sign Slice Split SplitWithSizes Squeeze Sum T ToCopy Transpose Tril Triu "
        "Trunc Unbind Unfold Unsqueeze View",
    (0,): "Abs Acos Acosh Angle Asin Asinh Atan Atanh Celu Cos Cosh Digamma Elu Erf Erfc Erfinv Gelu Hardshrink "
          "Hardsigmoid Hardswish Hardtanh LeakyRelu Lgamma LinalgMatrixExp Log Log10 Log1P Log2 LogSigmoid Logit Mish "
          "Nansum Polygamma Pow Silu Sin Sinc Sinh Softplus Softshrink Threshold Var VarMean",
    (-1,): "Exp Exp2 Expm1 LinalgCholeskyEx LinalgInvEx LogSoftmax Reciprocal Relu Rsqrt Sigmoid Softmax Sqrt Tan Tanh",
    (-1, 0): "Amax Amin Cumprod LinalgDet LinalgVectorNorm Logcumsumexp Logsumexp Median Pdist Prod Sgn Std StdMean",
    (-2, 0): "Cummax Cummin",
    (-2,): "Max Min", (-2, -1): "LinalgEigh LinalgQr",
}
"""Ops of one operand, by what they read."""

_SECOND_FORMS = {"MeanBackward1": (), "SumBackward1": (), "SqueezeBackward1": (), "ProdBackward1": (-1, 0),
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
    "ConvolutionBackward0": ((0, 1), (0, 1), (0, 1)), "LayerNormBackward0": ((0, 1), (0, 1), (0, 1)),
    "MaximumBackward0": _BOTH, "MinimumBackward0": _BOTH, "FmaxBackward0": _BOTH, "FminBackward0": _BOTH,
    "Atan2Backward0": _BOTH, "XlogyBackward0": _BOTH, "LogaddexpBackward0": _BOTH, "Logaddexp2Backward0": _BOTH,
    "ComplexBackward0": _BOTH, "NextafterBackward0": _BOTH, "PolarBackward0": ((-1,), (-1,)),
    "CdistBackward0": ((-1, 0, 1), (-1, 0, 1)), "HypotBackward0": ((-1, 0), (-1, 1)),
    "CopysignBackward0": ((-1, 0), (-1,)),
    "PowBackward1": ((-1, 0, 1), (-1, 0, 1)), "PowBackward2": ((-1, 0),), "RemainderBackward1": ((), (0, 1)),
    "MseLossBackward0": _BOTH, "SmoothL1LossBackward0": _BOTH, "HuberLossBackward0": _BOTH,
    "BinaryCrossEntropyBackward0": _BOTH, "BinaryCrossEntropyWithLogitsBackward0": _BOTH,
    "ClampBackward1": ((0,),), "ClampBackward0": ((0, 1, 2), (0, 1, 2), (0, 1, 2)), "PreluBackward0": _BOTH,
    "ScatterBackward0": ((2,), (2,)), "ScatterAddBackward0": ((), (2,)), "IndexAddBackward0": ((), (1, 2)),
    "IndexCopyBackward0": ((2,), (1, 2)), "LinalgSolveExBackward0": ((-1, 0), (-1, 0)),
    "ScatterReduceBackward0": ((-1, 0, 1, 2), (-1, 0, 1, 2)), "IndexReduceBackward0": ((-1, 0, 1, 2), (-1, 0, 1, 2)),
    "NllLossBackward0": ((1,),), "NllLoss2DBackward0": ((1,),),
    "SortBackward0": ((1,),), "TopkBackward0": ((1,),), "KthvalueBackward0": ((1,),), "MedianBackward1": ((1,),),
    "NanmedianBackward1": ((1,),), "ModeBackward0": ((1,),), "MaxPool1DWithIndicesBackward0": ((0,),),
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
