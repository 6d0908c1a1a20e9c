// Debian packages with all they depend on, unpacked into one folder: nothing is installed on this machine.
import { execFile } from "node:child_process";
import { lstatSync, mkdirSync, readdirSync, readlinkSync, symlinkSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const LOADER = "/lib64/ld-linux-x86-64.so.2";

/** Downloads and unpacks `packages` into `dir`/root, which it returns. Needs root and a Debian machine with apt. */
export const unpackPackages = async (packages: readonly string[], dir: string): Promise<string> => {
  const root = join(dir, "root");
  const debs = join(dir, "debs");
  for (const path of [debs, ...["bin", "sbin", "lib", "lib64"].map((name) => join(root, "usr", name))]) {
    mkdirSync(path, { recursive: true });
  }
  for (const name of ["bin", "sbin", "lib", "lib64"]) symlinkSync(`usr/${name}`, join(root, name));
  const names = await closure(packages).catch(async () => {
    await run("apt-get", ["update", "-q"]);
    return closure(packages);
  });
  // apt's own download user may not write here.
  await run("apt-get", ["download", "-q", "-o", "APT::Sandbox::User=root", ...names], { cwd: debs });
  for (const deb of readdirSync(debs).sort()) {
    await run("sh", [
      "-c",
      'dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2"',
      "sh",
      join(debs, deb),
      root,
    ]);
  }
  return root;
};

/** The libraries that a program in the root loads, as paths in the root; [] for a static one. */
export const librariesOf = async (root: string, program: string): Promise<readonly string[]> => {
  // The loader crashes when it lists a static program; ldd asks it this first too.
  const dynamic = await run("chroot", [root, LOADER, "--verify", program]).then(
    () => true,
    () => false,
  );
  if (!dynamic) return [];
  const { stdout } = await run("chroot", [root, LOADER, "--list", program]);
  if (/not found/.test(stdout)) throw new Error(`${program} lacks libraries:\n${stdout}`);
  return [...stdout.matchAll(/(\/\S+) \(0x/g)].map((match) => match[1]!);
};

/** The path of a library that is known by its name only. */
export const findLibrary = (root: string, name: string): string => {
  const path = ["/lib/x86_64-linux-gnu", "/lib64"]
    .map((dir) => posix.join(dir, name))
    .find((path) => lstatSync(join(root, path), { throwIfNoEntry: false }) !== undefined);
  if (path === undefined) throw new Error(`no package holds the library ${name}`);
  return path;
};

/** The path without symlinks, all of them taken as links inside the root; no leading slash. */
export const realPathInside = (root: string, path: string, hops = 0): string => {
  let real = "";
  const parts = path.split("/").filter((part) => part !== "");
  for (const [i, part] of parts.entries()) {
    const next = posix.join(real, part);
    if (!lstatSync(join(root, next)).isSymbolicLink()) {
      real = next;
      continue;
    }
    if (hops > 40) throw new Error(`${path}: too many symlinks`);
    const target = readlinkSync(join(root, next));
    return realPathInside(
      root,
      posix.join(target.startsWith("/") ? "" : dirname(next), target, ...parts.slice(i + 1)),
      hops + 1,
    );
  }
  return real;
};

const closure = async (packages: readonly string[]): Promise<readonly string[]> => {
  const without = ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"].map(
    (kind) => `--no-${kind}`,
  );
  const { stdout } = await run("apt-cache", ["depends", "--recurse", ...without, ...packages], { maxBuffer: 64 << 20 });
  // Indented lines are the edges; <…> are virtual packages, which can't be downloaded.
  const names = [...new Set(stdout.split("\n").filter((line) => /^[a-z0-9][^:]*$/.test(line)))].sort();
  const missing = packages.filter((name) => !names.includes(name));
  if (missing.length > 0) throw new Error(`apt knows no package ${missing.join(", ")}`);
  const { stdout: policy } = await run("apt-cache", ["policy", ...names], { maxBuffer: 64 << 20 });
  const candidates = new Set(
    [...policy.matchAll(/^(\S+):\n {2}Installed: .*\n {2}Candidate: (?!\(none\))/gm)].map((m) => m[1]!),
  );
  return names.filter((name) => candidates.has(name));
};
