# A machine of the fleet lab: this file system with everything that is written kept apart, in memory.
# Run in namespaces of its own, with a folder to mount on, the machine's name, and the checkout.
set -e
folder=$1
checkout=$3
read -r pid _ < /proc/self/stat # as it is seen outside
mount --make-rprivate /
mount -t tmpfs none "$folder"
mkdir "$folder/written" "$folder/work" "$folder/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/written,workdir=$folder/work" "$folder/root"
cd "$folder/root"
mount --rbind /dev dev
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs none run
mount -t tmpfs none tmp
case $checkout in
/tmp/* | /run/*) # hidden by the two mounts above
    mkdir -p ".$checkout"
    mount --bind "$checkout" ".$checkout"
    ;;
esac
mkdir run/old run/overlay
mount --bind "$folder" run/overlay
pivot_root . run/old
umount -l /run/old
hostname "$2"
echo "$pid"
exec sleep infinity
