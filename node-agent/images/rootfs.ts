// A container's root file system: an overlayfs mount whose lower folders are the image's shared layers.
//   <dir>/upper  what the container writes    <dir>/work  overlayfs's own    <dir>/merged  the root
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { refuse, TswarmError } from "#base/errors.ts";
import { MNT_DETACH, MOUNT_DATA_MAX, mount, UMOUNT_NOFOLLOW, umount } from "#node-agent/runtime/mount.ts";
import type { ResolvedImage } from "./store.ts";

export type Rootfs = { readonly merged: string; readonly upper: string };

/**
 * Mounts the image's layers under a writable one in `dir`, in the calling thread's mount namespace. Mounting again after
 * an unmount finds what the container wrote.
 * @throws TswarmError `unsupported` when the paths of the layers don't fit in the page that mount(2) takes: about 120
 * layers below /var/lib/tswarm.
 */
export const mountRootfs = ({
  image,
  dir,
}: {
  image: Pick<ResolvedImage, "layers" | "digest">;
  dir: string;
}): Rootfs => {
  const [upper, work, merged, empty] = ["upper", "work", "merged", "empty"].map((name) => join(dir, name)) as [
    string,
    string,
    string,
    string,
  ];
  // A volatile mount that was never unmounted leaves a mark in work/ that forbids the next one.
  rmSync(work, { recursive: true, force: true });
  for (const path of [upper, work, merged]) mkdirSync(path, { recursive: true, mode: 0o755 });
  // The root folder that processes of any user pass through; mkdir's mode is subject to the umask.
  chmodSync(upper, 0o755);
  // overlayfs wants at least one lower folder; an image may have none.
  if (image.layers.length === 0) mkdirSync(empty, { recursive: true });
  const lower = image.layers.length === 0 ? [empty] : image.layers.toReversed();
  // volatile: no sync of everything at unmount. A root doesn't outlive its task, so nothing is lost with the machine.
  const options = `lowerdir=${lower.map(escapePath).join(":")},upperdir=${escapePath(upper)},workdir=${escapePath(work)},volatile`;
  if (Buffer.byteLength(options) > MOUNT_DATA_MAX) {
    const reason = `its ${lower.length} layers need ${Buffer.byteLength(options)} bytes of mount options, the kernel takes ${MOUNT_DATA_MAX}`;
    throw refuse(
      "unsupported",
      image.digest,
      reason,
      "Build the image with fewer layers, or give the agent a shorter data folder",
    );
  }
  mount("overlay", merged, "overlay", 0, options);
  return { merged, upper };
};

/** Unmounts the root in `dir`, also while files in it are open. Nothing happens when it is not mounted. */
export const unmountRootfs = ({ dir }: { dir: string }): void => {
  try {
    umount(join(dir, "merged"), MNT_DETACH | UMOUNT_NOFOLLOW);
  } catch (thrown) {
    if (!(thrown instanceof TswarmError) || (thrown.code !== "invalid" && thrown.code !== "not_found")) throw thrown;
  }
};

/** overlayfs splits its options at commas and colons unless a backslash stands before. */
const escapePath = (path: string): string => path.replace(/[\\,:]/g, "\\$&");
