# What a machine does from its start: it waits for its number and its user data, which the rehearsal lays down, and runs
# these once under a shell of its own, as cloud-init does.
set -eu
while [ ! -e /ready ]; do sleep 0.1; done
INSTANCE_ID=$(cat /instance-id)
python3 /metadata.py &
# Containers beside this one take files by their path on the engine's machine: what they are given lies where both see it.
for folder in etc run; do
    mkdir -p "$SHARED/$INSTANCE_ID/$folder" "/$folder"
    ln -sfn "$SHARED/$INSTANCE_ID/$folder" "/$folder/trainyard"
done
mkdir -p /etc/systemd/system
rc=0
sh /user-data >/var/log/user-data.log 2>&1 || rc=$?
echo "user data ended with $rc" >>/var/log/user-data.log
cat /var/log/user-data.log
echo "$rc" >/var/lib/booted
exec sleep infinity
