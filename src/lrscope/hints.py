"""What to answer to an option that lrscope has not: the name that it has here, or that there is no such thing and why."""

from __future__ import annotations

from collections.abc import Iterable

from lrscope.errors import nearest

# Names that other libraries use -> the option here.
SYNONYMS: dict[str, str] = {
    **dict.fromkeys(
        ("lr", "learning_rate", "learning_rates", "lr_grid", "grid", "lr_range", "elr", "elrs", "plrs"), "lrs"
    ),
    **dict.fromkeys(
        ("min_lr", "max_lr", "start_lr", "end_lr", "lr_min", "lr_max", "num_lrs", "num_lr", "n_lrs"), "lrs"
    ),
    **dict.fromkeys(("seed", "random_state", "num_seeds", "n_seeds", "rng", "repeats", "n_repeats", "trials"), "seeds"),
    **dict.fromkeys(
        ("seed_offset", "seed_start", "start_seed", "base_seed", "initial_seed", "global_seed"), "first_seed"
    ),
    **dict.fromkeys(("max_epochs", "num_epochs", "n_epochs", "num_train_epochs", "epoch"), "epochs"),
    **dict.fromkeys(("max_steps", "num_steps", "n_steps", "iterations", "iters", "num_iter", "step"), "steps"),
    **dict.fromkeys(("bs", "batch", "train_batch_size", "per_device_train_batch_size", "minibatch_size"), "batch_size"),
    **dict.fromkeys(
        ("accumulate", "grad_accum", "accumulate_grad_batches", "gradient_accumulation_steps"), "batch_size"
    ),
    **dict.fromkeys(("wd", "l2", "decay", "l2_regularization"), "weight_decay"),
    **dict.fromkeys(("scheduler", "lr_scheduler", "lr_schedule", "lr_scheduler_type", "annealing"), "schedule"),
    **dict.fromkeys(("flr", "flrs", "finetune_lr", "fine_tune_lrs", "ft_lrs"), "finetune_lrs"),
    **dict.fromkeys(("swa", "swa_n", "averages", "checkpoints_to_average"), "average"),
    **dict.fromkeys(("swa_every", "swa_freq"), "average_every"),
    **dict.fromkeys(("amp", "dtype", "fp16", "bf16", "mixed_precision", "half", "float64", "double"), "precision"),
    **dict.fromkeys(("workers", "num_workers", "n_jobs", "processes", "num_processes", "njobs"), "jobs"),
    **dict.fromkeys(("gpu", "gpus", "cuda", "accelerator", "devices"), "device"),
    **dict.fromkeys(("torch_compile", "jit"), "compile"),
    **dict.fromkeys(("augmentation", "transform", "transforms", "data_augmentation"), "augment"),
    **dict.fromkeys(("rand_augment", "autoaugment", "auto_augment"), "randaugment"),
    **dict.fromkeys(("opt", "optim", "adam", "adamw", "sgd", "muon", "rmsprop"), "optimizer"),
    **dict.fromkeys(
        ("grad_clip", "clip", "clip_grad", "clip_grad_norm", "max_grad_norm", "gradient_clip_val", "gradient_clipping"),
        "clip_norm",
    ),
    **dict.fromkeys(("warmup", "warmup_ratio", "num_warmup_steps"), "warmup_steps"),
    **dict.fromkeys(("beta1", "beta2", "adam_beta1", "adam_beta2"), "betas"),
    **dict.fromkeys(("eps", "adam_epsilon"), "epsilon"),
    **dict.fromkeys(("alpha", "rms_alpha"), "rmsprop_alpha"),
    **dict.fromkeys(("rho", "norm", "weight_norm"), "radius"),
    **dict.fromkeys(("output", "output_dir", "out_dir", "save_dir", "folder", "directory", "log_dir", "root"), "out"),
    **dict.fromkeys(("early_stopping", "patience", "pruning", "pruner"), "adaptive"),
    **dict.fromkeys(("dataset", "datasets"), "data"),
    **dict.fromkeys(("network", "arch", "architecture", "net"), "model"),
    **dict.fromkeys(("verbose", "tqdm", "progress_bar", "quiet", "silent"), "progress"),
    **dict.fromkeys(("noise", "noisy_labels"), "label_noise"),
    **dict.fromkeys(("ray", "cluster", "backend", "dispatcher"), "on"),
    **dict.fromkeys(("si", "invariant", "scale_invariance"), "scale_invariant"),
    **dict.fromkeys(("val", "val_data", "validation_data", "validation_split", "val_split", "val_size"), "validation"),
}

# What lrscope has not -> what to do instead.
ABSENT: dict[str, str] = {
    "dampening": "momentum has no dampening here: leave it out",
    **dict.fromkeys(("amsgrad", "fused", "foreach"), "adam is the plain one (Kingma and Ba 2015): leave it out"),
    **dict.fromkeys(("ema", "ema_decay"), "weights are averaged evenly (SWA): use average, such as 2,5,10"),
    **dict.fromkeys(("dropout", "activation", "depth", "hidden", "layers"), "it belongs to the model: set it there"),
    **dict.fromkeys(
        ("validation", "val", "val_data", "validation_data", "validation_split", "val_split", "val_loader"),
        "it belongs to the task: lrscope.Task(..., validation=...) or lrscope.named_task(..., validation=...)",
    ),
    **dict.fromkeys(
        ("loss", "criterion", "train", "test", "x", "y", "train_loader", "train_dataset", "metrics", "classification"),
        "it belongs to the task: lrscope.Task(model=..., train=..., test=..., loss=...)",
    ),
    **dict.fromkeys(
        ("label_smoothing", "mixup", "cutmix"),
        "it belongs to the data or the loss: pass a Task with a loss function of your own",
    ),
    **dict.fromkeys(
        ("shuffle", "drop_last", "sampler"),
        "every epoch is shuffled and its last incomplete batch left out: leave it out",
    ),
    **dict.fromkeys(
        ("resume", "ckpt_path", "resume_from_checkpoint"), "the same call goes on where it stopped: leave it out"
    ),
    **dict.fromkeys(
        ("name", "title", "run_name", "experiment_name"),
        "it belongs to the task: lrscope.Task(name=...)",
    ),
    "margin": "it belongs to reading a result: lrscope.regimes(result, margin=...)",
    **dict.fromkeys(
        ("train_size", "test_size", "label_noise", "pool", "features", "only_bands", "width", "model_options"),
        "it belongs to the task: lrscope.named_task(data, model, ...) takes it",
    ),
    **dict.fromkeys(("callbacks", "logger", "hooks"), "sweeps take none; progress takes an object of your own"),
}


def no_such_option(name: str, known: Iterable[str], prefix: str = "") -> str:
    """The tail of a message about an unknown option: what it is called here, what lrscope has instead, the names that it
    resembles, or all of them. With the prefix -- names are written as the command line writes them."""
    written = {(n.replace("_", "-") if prefix else n): n.replace("-", "_") for n in known}
    names = {plain: prefix + option for option, plain in written.items()}
    plain = str(name)[:100].lower().strip("-").replace("-", "_")
    meant = names.get(plain) or names.get(SYNONYMS.get(plain, ""))
    if meant is not None:
        return f"did you mean {meant!r}?"
    return ABSENT.get(plain) or nearest(
        (prefix + plain.replace("_", "-")) if prefix else plain, names.values(), cutoff=0.65
    )
