"""Training: `fit` yields an epoch at a time, `Report` keeps its files, `load_model` brings a trained model back."""

from fastconv.train.checkpoint import Card, load_model, save_model
from fastconv.train.fit import AUGMENTATION, OPTIMIZERS, Epoch, NonFiniteLossError, fit, steps_per_epoch
from fastconv.train.report import MODEL_FILE, Report, make_directory
from fastconv.train.step import evaluate, gradients

__all__ = [
    "AUGMENTATION",
    "MODEL_FILE",
    "OPTIMIZERS",
    "Card",
    "Epoch",
    "NonFiniteLossError",
    "Report",
    "evaluate",
    "fit",
    "gradients",
    "load_model",
    "make_directory",
    "save_model",
    "steps_per_epoch",
]
