#!/usr/bin/env bash
# Stop what start-cluster.sh started, known by the pids it recorded. Idempotent.
#   ROOT    folder of the cluster            (default /tmp/perigee-slurm)
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
ROOT=${ROOT:-/tmp/perigee-slurm}
export SLURM_CONF=$ROOT/etc/slurm.conf

pid_of() { # <pid file> <program>: the pid, if that process is that program
    local pid
    pid=$(cat "$1" 2>/dev/null) || return 1
    [ -n "$pid" ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q -- "$2" && echo "$pid"
}
stop() { # <pid file> <program>
    local pid
    if pid=$(pid_of "$1" "$2"); then
        kill "$pid"
        for _ in $(seq 100); do
            [ -d "/proc/$pid" ] || break
            sleep 0.1
        done
        [ -d "/proc/$pid" ] && kill -9 "$pid"
    fi
    rm -f "$1"
}

# Jobs first: they would outlive slurmd.
if pid_of "$ROOT/run/slurmctld.pid" slurmctld >/dev/null; then
    for state in PENDING RUNNING SUSPENDED; do scancel --quiet --state=$state --user=root; done
    for _ in $(seq 100); do
        [ -z "$(squeue -h -t PENDING,RUNNING,COMPLETING 2>/dev/null)" ] && break
        sleep 0.1
    done
fi
stop "$ROOT/run/slurmd.pid" slurmd
stop "$ROOT/run/slurmctld.pid" slurmctld
stop "$ROOT/munge/munged.pid" munged
[ "$(readlink /etc/slurm/slurm.conf)" = "$SLURM_CONF" ] && rm -f /etc/slurm/slurm.conf
rm -rf "$ROOT/munge/socket"*
exit 0
