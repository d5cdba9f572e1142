#!/usr/bin/env bash
# Start a real SLURM of one node on this machine, as root and without systemd. Idempotent.
#
#   tests/support/start-cluster.sh
#   tests/support/stop-cluster.sh
#
# Packages (Debian): slurm-wlm munge. All state lies in $ROOT; the configuration is also linked to
# /etc/slurm/slurm.conf, where commands and job steps look for it.
#   ROOT    folder of the cluster            (default /tmp/perigee-slurm)
#   NCPUS   CPUs that SLURM hands out        (default 4, even on fewer)
#   NGPUS   pretend GPUs, up to 5            (default 2): character devices that nothing opens
set -euo pipefail
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
ROOT=${ROOT:-/tmp/perigee-slurm}
NCPUS=${NCPUS:-4}
NGPUS=${NGPUS:-2}
HOST=$(hostname -s)
CONF=$ROOT/etc/slurm.conf

[ "$(id -u)" = 0 ] || { echo "A SLURM of one's own needs root." >&2; exit 1; }
for program in munged slurmctld slurmd; do
    command -v $program >/dev/null || { echo "$program is missing: apt-get install slurm-wlm munge" >&2; exit 1; }
done
if [ -e /etc/slurm/slurm.conf ] && [ "$(readlink /etc/slurm/slurm.conf)" != "$CONF" ]; then
    echo "/etc/slurm/slurm.conf belongs to another cluster; nothing was started." >&2
    exit 1
fi

runs() { # <pid file> <program>: whether that process is that program
    local pid
    pid=$(cat "$1" 2>/dev/null) || return 1
    [ -n "$pid" ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q -- "$2"
}
until_true() { # <seconds> <command...>
    local left=$(($1 * 10))
    shift
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ $left -gt 0 ] || return 1
        sleep 0.1
    done
}

mkdir -p "$ROOT"/{etc,run,log,spool,state,munge}
chmod 755 "$ROOT" "$ROOT"/{etc,run,log,spool,state}

# munge: how the daemons know each other
[ -s "$ROOT/munge/munge.key" ] || dd if=/dev/urandom of="$ROOT/munge/munge.key" bs=128 count=1 status=none
chown -R munge:munge "$ROOT/munge"
chmod 711 "$ROOT/munge"
chmod 600 "$ROOT/munge/munge.key"
SOCKET=$ROOT/munge/socket
if ! runs "$ROOT/munge/munged.pid" munged; then
    rm -f "$SOCKET" "$SOCKET.lock" "$ROOT/munge/munged.pid"
    setpriv --reuid munge --regid munge --clear-groups \
        munged --key-file "$ROOT/munge/munge.key" --socket "$SOCKET" \
        --pid-file "$ROOT/munge/munged.pid" --log-file "$ROOT/munge/munged.log" \
        --seed-file "$ROOT/munge/munged.seed"
fi
until_true 10 munge -n -S "$SOCKET" || { tail "$ROOT/munge/munged.log" >&2; exit 1; }

# Without slurmdbd; short scheduling cycles; a node that may claim more CPUs and memory than it has.
# Ended jobs stay visible to squeue for an hour, a job is killed 5 s after its time limit, and what
# is requeued begins after 10 s (cred_expire).
cat >"$CONF" <<END
ClusterName=perigee
SlurmctldHost=$HOST(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$SOCKET,cred_expire=10
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=5,sched_min_interval=0,bf_interval=5
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
MinJobAge=3600
KillWait=5
OverTimeLimit=0
ReturnToService=2
SlurmdTimeout=300
MessageTimeout=5
SlurmctldPort=6817
SlurmdPort=6818
SlurmctldPidFile=$ROOT/run/slurmctld.pid
SlurmdPidFile=$ROOT/run/slurmd.pid
SlurmdSpoolDir=$ROOT/spool
StateSaveLocation=$ROOT/state
SlurmctldLogFile=$ROOT/log/slurmctld.log
SlurmdLogFile=$ROOT/log/slurmd.log
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=$HOST NodeAddr=127.0.0.1 CPUs=$NCPUS RealMemory=64000 Gres=gpu:pretend:$NGPUS State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES DefMemPerCPU=500 DefaultTime=10 MaxTime=INFINITE State=UP
END
devices=(/dev/zero /dev/full /dev/null /dev/random /dev/urandom)
files=$(IFS=,; echo "${devices[*]:0:$NGPUS}")
printf 'AutoDetect=off\nName=gpu Type=pretend File=%s\n' "$files" >"$ROOT/etc/gres.conf"
printf 'CgroupAutomount=no\n' >"$ROOT/etc/cgroup.conf" # this machine's cgroups are left alone
mkdir -p /etc/slurm
ln -sfn "$CONF" /etc/slurm/slurm.conf
export SLURM_CONF=$CONF

runs "$ROOT/run/slurmctld.pid" slurmctld || slurmctld -f "$CONF"
until_true 20 scontrol ping || { tail "$ROOT/log/slurmctld.log" >&2; exit 1; }
runs "$ROOT/run/slurmd.pid" slurmd || slurmd -f "$CONF" -N "$HOST"
usable() { scontrol ping | grep -q UP && sinfo -h -o %T | grep -qE '^(idle|mixed|allocated)$'; }
until_true 5 usable || scontrol update nodename="$HOST" state=resume 2>/dev/null || true
until_true 25 usable || { sinfo -R >&2; tail "$ROOT/log/slurmd.log" >&2; exit 1; }
sinfo -N -o '%N %T %c CPUs %m MB %G'
