"""The same curvature by a public library: curvlinops beside kfaclib, on the digits' net. Needs `curvlinops` (see
pyproject.toml).
"""

import importlib.metadata

import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import nn

from kfaclib.curvature.exact import exact_factors
from kfaclib.curvature.layers import linear_layers
from kfaclib.curvature.spectrum import lanczos, random_signs, ritz
from kfaclib.io import files
from kfaclib.toy import digits
from kfcourse.experiments.spectra import curvature


def run(out):
    """Products, top eigenvalues and one layer's K-FAC by both libraries, in float64: under a minute on one core."""
    try:
        import curvlinops
    except ImportError:
        raise ValueError(
            "curvlinops is not installed: this record is made with it; `python3 course.py test` installs it"
        ) from None
    d = digits.load()
    net = digits.train(digits.make_net(0), d.x, d.y, epochs=8).double()
    x, y = d.x.double(), d.y
    generator, relative = (
        torch.Generator().manual_seed(0),
        lambda ours, theirs: ((ours - theirs).norm() / theirs.norm()).item(),
    )
    common = (net, nn.CrossEntropyLoss(reduction="mean"), list(net.parameters()), [(x, y)])
    record = {"provenance": files.provenance(0), "curvlinops": importlib.metadata.version("curvlinops-for-pytorch")}
    for matrix, operator in (
        ("Hessian", curvlinops.HessianLinearOperator(*common)),
        ("GGN", curvlinops.GGNLinearOperator(*common)),
    ):
        matvec, size = curvature(net, x, y, matrix)
        v = torch.randn(size, generator=generator, dtype=torch.float64)
        ours = ritz(lanczos(matvec, random_signs(size, generator, torch.float64), 80))[0][:9]
        scipy = LinearOperator((size, size), matvec=lambda v: (operator @ torch.from_numpy(v).double()).numpy())
        theirs = torch.from_numpy(eigsh(scipy, k=9, which="LA", return_eigenvectors=False, tol=1e-10).copy()).flip(0)
        record[matrix] = {
            "product": relative(matvec(v), operator @ v),
            "eigenvalues": relative(ours, theirs),
            "ours": ours.tolist(),
            "theirs": theirs.tolist(),
        }
    last = linear_layers(net, "4")
    theirs = curvlinops.KFACLinearOperator(
        net, common[1], [net[4].weight], [(x, y)], fisher_type=curvlinops.FisherType.TYPE2
    )
    f = exact_factors(net, x, last)["4"]
    v = torch.randn(net[4].weight.shape, generator=generator, dtype=torch.float64)
    record["K-FAC"] = {"product": relative((f.G @ v @ f.A).flatten(), theirs @ v.flatten())}
    files.write_json(out, record)
