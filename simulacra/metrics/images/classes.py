"""Which classes the pictures show, as a classifier sees them."""

import torch
from torch import Tensor


def class_histogram(posteriors: Tensor) -> dict[str, float]:
    """Of posteriors (N, classes), each picture counted for its most probable class: the smallest
    and the largest share, the number of classes with no picture, the entropy of the shares in nats
    (log classes if even), and the mean of the largest posterior."""
    top, label = posteriors.double().max(1)
    shares = label.bincount(minlength=posteriors.shape[1]).double() / len(label)
    return {
        "class_min_share": float(shares.min()),
        "class_max_share": float(shares.max()),
        "class_missing": float((shares == 0).sum()),
        "class_entropy": float(torch.special.entr(shares).sum()),
        "top_probability": float(top.mean()),
    }


def agreement(posteriors: Tensor, asked: Tensor) -> dict[str, float]:
    """The share of pictures whose most probable class, of posteriors (N, classes), is the one asked
    for (N,): of all, and in the class where it is lowest."""
    right = (posteriors.argmax(1) == asked).double()
    count = asked.bincount()
    shares = (right.new_zeros(len(count)).index_add_(0, asked, right) / count)[count > 0]
    return {"class_agreement": float(right.mean()), "class_agreement_min": float(shares.min())}
