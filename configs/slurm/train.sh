# The batch scripts in this folder source this file with the arguments RUN CONFIG [...]. It starts one torchrun on each
# node, with a process for each GPU (or as many as PROCESSES_PER_NODE says).
#
# On SIGUSR1, which SLURM sends before the time limit, the run writes a checkpoint and stops, and the job goes back into
# the queue. On SIGTERM (pre-emption, scancel) the run writes a checkpoint and stops; SLURM decides whether the job comes
# back.

run=$1
shift
[ ! -f .venv/bin/activate ] || . .venv/bin/activate

processes=${PROCESSES_PER_NODE:-${SLURM_GPUS_ON_NODE:-1}}
cores=${SLURM_CPUS_PER_TASK:-1}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > processes ? cores / processes : 1))}
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=120 # s that torchrun leaves for the checkpoint after SIGTERM; 30 by itself
# Names of nodes don't resolve everywhere; the address is what SLURM itself uses.
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(scontrol show node --oneliner "$first" | grep -o ' NodeAddr=[^ ]*' | cut -d = -f 2)

preempted=0
trap 'preempted=1' USR1
trap : TERM # the run gets it, too; the job must not end before the run has left

# torchrun would end at SIGUSR1, so it ignores it here. The processes get the signal and handle it themselves.
# From SLURM 22.05 on srun doesn't take --cpus-per-task from sbatch.
srun --ntasks-per-node=1 --cpus-per-task="$cores" bash -c '
    trap "" USR1
    exec python -m torch.distributed.run --nnodes="$SLURM_NNODES" --node-rank="$SLURM_NODEID" "$@"
' torchrun --nproc-per-node="$processes" --master-addr="$address" --master-port=$((20000 + SLURM_JOB_ID % 10000)) \
    -m training "$@" --out "$run" --resume &
step=$!
# A trapped signal ends `wait`. It is passed on until the job step has ended, because starting processes don't listen yet.
until wait "$step"; status=$?; ! kill -0 "$step" 2>/dev/null; do
    while ((preempted)) && kill -USR1 "$step" 2>/dev/null; do sleep 2; done
done

# srun's exit code 0 doesn't mean that the run is finished: it was also seen after a node failed.
python -m training finished "$run" && exit 0
if ((preempted)); then
    echo "out of time: job $SLURM_JOB_ID goes back into the queue" >&2
    scontrol requeue "$SLURM_JOB_ID"
    exit
fi
exit $((status ? status : 1))
