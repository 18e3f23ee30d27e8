#!/bin/sh
# One training on four machines under Slurm: sbatch deploy/slurm.sh run.toml OUT
#
# `ncs` is built on the cluster with `cargo build --release --features mpi` (docs/distributed.md). OUT is on a file system that
# all machines share. A rank that dies ends the step; Slurm starts the job again, and it goes on from the last checkpoint.
#SBATCH --job-name=ncs-train
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
set -eu
run=$1 out=$2

srun --mpi=pmix --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=1 \
    ncs train "$run" --out "$out" --set threads="$SLURM_CPUS_PER_TASK" ||
    { scontrol requeue "$SLURM_JOB_ID"; exit 1; }
