// What a VM boots: Debian's kernel, a small initrd and a read-only root disk. Built on first use by mmdebstrap, kept in
// build/vm/<hash of what it is built from>/. Packages are unpacked only, never configured: no maintainer script runs.
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { run } from "#test-cluster/netns/system.ts";

export type BootFiles = { readonly kernel: string; readonly initrd: string; readonly root: string };

const SUITE = "bookworm";
const projectRoot = resolve(import.meta.dirname, "../..");
const makefile = readFileSync(join(projectRoot, "Makefile"), "utf8");
/** What a host gets by `make install`, and what a Debian system has anyway or a guest boots with. */
const PACKAGES = [
  .../^PACKAGES := (.+)$/m.exec(makefile)![1]!.split(" "),
  ...["dash", "coreutils", "findutils", "grep", "sed", "mount", "libstdc++6", "kmod", "linux-image-cloud-amd64"],
];
/** Needed before the root disk is there; loaded in this order, after what they depend on. */
const EARLY_MODULES = ["virtio_pci", "virtio_blk", "erofs", "overlay"];
const EMPTY_FOLDERS = ["proc", "sys", "dev", "run", "tmp", "root", "project"];

const guest = join(import.meta.dirname, "guest");
export const bootFilesFolder = join(projectRoot, "build/vm");
const sources = [import.meta.filename, ...readdirSync(guest).map((name) => join(guest, name))];
const key = createHash("sha256")
  .update(Buffer.concat(sources.map((path) => readFileSync(path))))
  .update(PACKAGES.join())
  .digest("hex")
  .slice(0, 16);

/** Builds the files unless they are there. Needs root, mmdebstrap, erofs-utils, busybox and a Debian mirror the first time. */
export const ensureBootFiles = (): BootFiles => {
  const files = (dir: string): BootFiles => ({
    kernel: join(dir, "vmlinuz"),
    initrd: join(dir, "initrd"),
    root: join(dir, "root.erofs"),
  });
  const dir = join(bootFilesFolder, key);
  if (existsSync(dir)) return files(dir);
  const unfinished = `${dir}.${process.pid}`;
  try {
    build(files(unfinished), unfinished);
    renameSync(unfinished, dir);
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
  // Older ones only: a name with a dot is another process's build under way.
  for (const name of readdirSync(bootFilesFolder))
    if (name !== key && !name.includes(".")) rmSync(join(bootFilesFolder, name), { recursive: true });
  return files(dir);
};

const build = ({ kernel, initrd, root: disk }: BootFiles, dir: string): void => {
  const root = join(dir, "root");
  mkdirSync(dir, { recursive: true });
  const how = ["--quiet", "--mode=root", "--variant=extract", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"];
  run("mmdebstrap", [...how, `--include=${PACKAGES.join(",")}`, SUITE, root]);
  for (const name of EMPTY_FOLDERS) mkdirSync(join(root, name), { recursive: true });
  for (const name of ["usr/share/doc", "usr/share/man", "usr/share/locale"])
    rmSync(join(root, name), { recursive: true, force: true });
  cpSync(guest, join(root, "guest"), { recursive: true });
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n");
  writeFileSync(join(root, "etc/group"), "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n");
  writeFileSync(join(root, "etc/hosts"), "127.0.0.1 localhost tswarm-vm\n::1 localhost\n");
  const version = readdirSync(join(root, "lib/modules"))[0]!;
  run("chroot", [root, "depmod", version]);
  packInitrd(root, version, join(dir, "early"), initrd);
  renameSync(join(root, `boot/vmlinuz-${version}`), kernel);
  run("mkfs.erofs", ["--quiet", disk, root]);
  for (const name of [root, join(dir, "early")]) rmSync(name, { recursive: true });
};

const packInitrd = (root: string, version: string, dir: string, initrd: string): void => {
  for (const name of ["bin", "dev", "lower", "rw", "root", "modules"]) mkdirSync(join(dir, name), { recursive: true });
  cpSync(join(root, "bin/busybox"), join(dir, "bin/busybox"));
  cpSync(join(guest, "initrd.sh"), join(dir, "init"));
  const wanted = EARLY_MODULES.flatMap((module) =>
    run("chroot", [root, "modprobe", "--set-version", version, "--show-depends", module])
      .matchAll(/^insmod (\S+)/gm)
      .toArray(),
  ).map((match) => match[1]!);
  for (const [i, path] of [...new Set(wanted)].entries())
    cpSync(join(root, path), join(dir, "modules", `${String(i).padStart(2, "0")}.ko`));
  run("sh", ["-c", `chmod 755 "$1/init"; cd "$1" && find . | busybox cpio -o -H newc >"$2"`, "sh", dir, initrd]);
};
