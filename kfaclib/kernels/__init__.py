"""Kernels for the two places where a GPU's time goes: the symmetric updates, and the gradient over the vocabulary.

They are chosen at run time; Triton is never required.  The choice depends on shapes, dtypes and the device alone, never
on a timing, so that a run that is resumed gives the same bits. The reference of `syrk_` is `syrk.full_`; that of
`triton_labels.launch` is `sample_labels` with `logit_gradient` in kfaclib/curvature/labels.py.

There is no kernel for the sequence unit of EK-FAC.  For a sequence of 512 tokens and a layer of 8192 x 2048, rotating g
and a into the bases takes 73 GFLOP, their product 17, and reading and writing the squares 0.4 GB: a fused kernel could
save no more than the last, about a quarter of the time.
"""

from kfaclib.kernels.device import has_triton
from kfaclib.kernels.syrk import symmetrize_, syrk_

__all__ = ["has_triton", "symmetrize_", "syrk_"]
