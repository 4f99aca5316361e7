/**
 * A small Linux guest made of Debian packages: the cloud kernel, busybox, and an ext4 root image with its own init.
 *
 * The host talks to the guest by a kernel parameter (tasks=DO:TAG:COUNT:KIB,... with DO write or verify) and by lines on the serial console:
 *
 *   GUEST-READY                       init runs, the root filesystem is mounted
 *   GUEST-WROTE tag n                 file n of this tag is written and fsynced
 *   GUEST-SUM tag <sha256>            digest over the list of all digests of this tag
 *   GUEST-VERIFIED tag n <sha256>     all n files of the tag have the content that was written
 *   GUEST-FAIL reason                 anything went wrong
 *   GUEST-END                         the root filesystem is read-only and synced, the guest powers off
 */
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { run, shell } from './exec.js';

const GUEST_INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
for word in $(cat /proc/cmdline); do case $word in tasks=*) export $word;; esac; done
finish() { cd /; sync; mount -o remount,ro / || echo GUEST-FAIL remount; echo GUEST-END; poweroff -f; }
fail() { echo GUEST-FAIL $*; finish; }
write() {
  mkdir -p $dir || fail mkdir
  n=0
  while [ $n -lt $count ]; do
    n=$((n+1))
    dd if=/dev/urandom of=$dir/new bs=1k count=$kib conv=fsync 2>/dev/null || fail write $n
    mv $dir/new $dir/file$n || fail rename $n
    ln -s file$n $dir/link$n || fail symlink $n
    (cd $dir && sha256sum file$n >> sums) || fail digest $n
    sync
    echo GUEST-WROTE $tag $n
  done
  echo GUEST-SUM $tag $(sha256sum < $dir/sums)
}
verify() {
  cd $dir || fail no $dir
  sha256sum -c -s sums || fail content of $tag
  n=0
  while [ $n -lt $count ]; do n=$((n+1)); [ "$(readlink link$n)" = file$n ] || fail link $n; done
  echo GUEST-VERIFIED $tag $(wc -l < sums) $(sha256sum < sums)
}
echo GUEST-READY
for task in $(echo $tasks | tr , ' '); do
  set -- $(echo $task | tr : ' ')
  tag=$2 count=$3 kib=$4 dir=/data/$2
  $1
done
finish
`;

function initramfsInit(modules: string[]): string {
  return `#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for m in ${modules.join(' ')}; do /bin/busybox insmod /modules/$m.ko; done
n=0
while [ ! -b /dev/vda ] && [ $n -lt 200 ]; do /bin/busybox usleep 50000; n=$((n+1)); done
/bin/busybox mount -t ext4 /dev/vda /root || { echo GUEST-FAIL root filesystem; /bin/busybox poweroff -f; }
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /init
`;
}

const DISK_MODULES = ['virtio_pci', 'virtio_blk'];

function findModule(dir: string, name: string): string {
  const file = `${name}.ko`;
  const found = (readdirSync(dir, { recursive: true }) as string[]).find((path) => basename(path) === file);
  if (found === undefined) throw new Error(`kernel module ${file} not found below ${dir}`);
  return join(dir, found);
}

/** Modules in the order in which they must be loaded, read from the `depends=` field of each. */
function withDependencies(dir: string, names: string[]): Map<string, string> {
  const order = new Map<string, string>();
  const add = (name: string): void => {
    if (order.has(name)) return;
    const path = findModule(dir, name);
    const depends = /depends=([^\0]*)\0/.exec(readFileSync(path).toString('latin1'))?.[1] ?? '';
    for (const needed of depends.split(',').filter((word) => word !== '')) add(needed.replaceAll('-', '_'));
    order.set(name, path);
  };
  names.forEach(add);
  return order;
}

export interface GuestKernel {
  kernel: string;
  initrd: string;
}

async function unpackKernelPackage(work: string): Promise<{ kernel: string; modules: string }> {
  const { stdout } = await run('apt-cache', ['depends', '--important', 'linux-image-cloud-amd64']);
  const name = /Depends: (linux-image-\S+)/.exec(stdout)?.[1];
  if (name === undefined) throw new Error('apt knows no linux-image-cloud-amd64: run apt-get update');
  await run('apt-get', ['download', '-q', name], { cwd: work, boundMs: 300_000 });
  await shell('dpkg-deb -x linux-image-*.deb tree', [], { cwd: work });
  const boot = join(work, 'tree', 'boot');
  const image = readdirSync(boot).find((file) => file.startsWith('vmlinuz'));
  if (image === undefined) throw new Error(`${name} holds no kernel image`);
  return { kernel: join(boot, image), modules: join(work, 'tree', 'lib', 'modules') };
}

/** The kernel and an initramfs that mounts /dev/vda; made once and kept in the cache directory (GLUON_TEST_CACHE). */
export async function guestKernel(): Promise<GuestKernel> {
  const cache = join(process.env['GLUON_TEST_CACHE'] ?? '/var/tmp/gluon-test-cache', 'guest-2');
  const result = { kernel: join(cache, 'vmlinuz'), initrd: join(cache, 'initrd.gz') };
  if (existsSync(result.kernel) && existsSync(result.initrd)) return result;
  const work = mkdtempSync(join(tmpdir(), 'gluon-guest-'));
  try {
    const unpacked = await unpackKernelPackage(work);
    const root = join(work, 'initramfs');
    for (const dir of ['bin', 'modules', 'dev', 'root']) mkdirSync(join(root, dir), { recursive: true });
    copyFileSync('/bin/busybox', join(root, 'bin', 'busybox'));
    chmodSync(join(root, 'bin', 'busybox'), 0o755);
    const modules = withDependencies(unpacked.modules, DISK_MODULES);
    for (const [name, path] of modules) copyFileSync(path, join(root, 'modules', `${name}.ko`));
    writeFileSync(join(root, 'init'), initramfsInit([...modules.keys()]), { mode: 0o755 });
    await shell('cd "$1"; find . | busybox cpio -o -H newc 2>/dev/null | gzip -1 > ../initrd.gz', [root]);
    mkdirSync(cache, { recursive: true });
    copyFileSync(unpacked.kernel, `${result.kernel}.new`);
    copyFileSync(join(work, 'initrd.gz'), `${result.initrd}.new`);
    renameSync(`${result.kernel}.new`, result.kernel);
    renameSync(`${result.initrd}.new`, result.initrd);
    return result;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Writes an ext4 root image (raw, sparse) with the guest's init to `path`. */
export async function makeRootImage(path: string, sizeMiB: number): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'gluon-guest-root-'));
  try {
    for (const dir of ['bin', 'dev', 'proc', 'data']) mkdirSync(join(root, dir));
    copyFileSync('/bin/busybox', join(root, 'bin', 'busybox'));
    chmodSync(join(root, 'bin', 'busybox'), 0o755);
    writeFileSync(join(root, 'init'), GUEST_INIT, { mode: 0o755 });
    writeFileSync(path, '');
    truncateSync(path, sizeMiB << 20);
    await run('mke2fs', ['-q', '-F', '-t', 'ext4', '-d', root, path]);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}
