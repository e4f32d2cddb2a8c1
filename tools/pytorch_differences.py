"""Stage: documentation. In: nothing. Out: in which way names of PyTorch differ here, and why others are missing.
Next: ``tools/docs.py``, which makes a page of it."""

from __future__ import annotations

QUANTIZED = "there are no quantized tensors"
SYMBOLIC = "sizes are Python numbers; `torch.compile` records anew for other sizes"
DEVICES = "a module runs on one device"
LOW_PRECISION = "there are no 8-bit floating types"

DIFFERS: dict[str, str] = {
    # torch
    "torch.Generator": "of the CPU only",
    "torch.set_flush_denormal": "returns False: numbers below the normal ones are kept",
    "torch.set_num_interop_threads": "has no effect: kernels run one after another",
    "torch.get_num_interop_threads": "1: kernels run one after another",
    "torch.use_deterministic_algorithms": "remembered; results are the same bits at every run anyhow",
    "torch.set_deterministic_debug_mode": "remembered; results are the same bits at every run anyhow",
    "torch.set_float32_matmul_precision": 'on the CPU "high" and "medium" change nothing; on GPUs they allow TF32',
    "torch.set_warn_always": "remembered",
    "torch.Stream": "of the CPU only",
    "torch.Event": "of the CPU only",
    "torch.empty": "elements are 0 until they are written",
    "torch.empty_like": "elements are 0 until they are written; `memory_format` has no effect",
    "torch.zeros_like": "`memory_format` has no effect",
    "torch.ones_like": "`memory_format` has no effect",
    "torch.full_like": "`memory_format` has no effect",
    "torch.clone": "`memory_format` has no effect: dimensions lie in memory in their order",
    "torch.dequantize": "returns float32: " + QUANTIZED,
    "torch.cond": "computes `pred` and calls one of the functions",
    "torch.SymInt": "no object is one: " + SYMBOLIC,
    "torch.SymFloat": "no object is one: " + SYMBOLIC,
    "torch.SymBool": "no object is one: " + SYMBOLIC,
    "torch.compile": "records calls and replays them (`minigrad.jit`); `backend`, `mode`, `options` and `dynamic` have "
                     "no effect",
    **dict.fromkeys(("torch.sort", "torch.argsort", "torch.msort"), "always stable, which PyTorch's is where it is "
                    "asked to be; in PyTorch the order of equal elements depends on the processor"),
    **dict.fromkeys(("torch.topk", "torch.kthvalue", "torch.mode"), "of equal elements it takes those that a stable "
                    "sort takes; in PyTorch that depends on the processor"),
    "torch.unique": "NumPy sorts: the input is computed at the call",
    "torch.histc": "the range of the input is found at the call",
    "torch.histogram": "NumPy counts: the input is computed at the call",
    "torch.histogramdd": "NumPy counts: the input is computed at the call",
    "torch.bincount": "the largest element is found at the call",
    # torch.nn
    "torch.nn.functional.grouped_mm": "`offs` is read at the call",
    "torch.nn.DataParallel": "passes through, on one device",
    "torch.nn.parallel.DistributedDataParallel": "refuses with a clear error: there are no process groups",
    "torch.nn.parallel.data_parallel": "calls the module, on one device",
    "torch.nn.parallel.parallel_apply": "one module after another, on one device",
    "torch.nn.parallel.scatter_gather.scatter": "for one device",
    "torch.nn.SyncBatchNorm": "as `BatchNorm`: there is one process",
    "torch.nn.Transformer": "there are no nested tensors: `enable_nested_tensor` has no effect on the result",
    "torch.nn.TransformerEncoder": "there are no nested tensors: `enable_nested_tensor` has no effect on the result",
    "torch.nn.RNNBase": "`flatten_parameters` does nothing: weights need not lie side by side",
    "torch.nn.utils.convert_conv2d_weight_memory_format": "returns the module: dimensions lie in memory in their order",
    "torch.nn.utils.convert_conv3d_weight_memory_format": "returns the module: dimensions lie in memory in their order",
    # torch.optim
    **dict.fromkeys(
        [f"torch.optim.{name}" for name in ("Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD",
                                            "NAdam", "RAdam", "RMSprop", "Rprop", "SGD")],
        "`foreach`, `fused` and `capturable` have no effect: all parameters are updated by few kernels; "
        "`differentiable=True` is refused"),
    # torch.utils.data
    "torch.utils.data.distributed.DistributedSampler": "`num_replicas` and `rank` must be given: there are no process "
                                                       "groups",
}
"""Names that are here and do not do all that PyTorch's do: how."""

MISSING: dict[str, str] = {
    **dict.fromkeys(["torch.quantize_per_tensor", "torch.quantize_per_channel", "torch.quantized_batch_norm",
                     "torch.quantized_max_pool1d", "torch.quantized_max_pool2d"], QUANTIZED),
    "torch.sym_fresh_size": SYMBOLIC,
    "torch.export": "there is no export of programs",
    "torch.Tag": "there are no tags of operators",
    "torch.quasirandom.SobolEngine": "there are no quasi-random numbers",
    **dict.fromkeys([f"torch.nn.parallel.comm.{name}" for name in (
        "broadcast", "broadcast_coalesced", "gather", "reduce_add", "reduce_add_coalesced", "scatter")], DEVICES),
    **dict.fromkeys([f"torch.nn.functional.{name}" for name in (
        "ScalingType", "SwizzleType", "scaled_grouped_mm", "scaled_mm")], LOW_PRECISION),
}
"""Why a name is not here."""
