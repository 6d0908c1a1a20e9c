// The runtime hands the master end of a terminal over a Unix socket (--console-socket). Node can't receive file descriptors, so
// the socket is plain system calls on Node's event loop.
import { rmSync } from "node:fs";
import koffi, { type node } from "koffi";
import { acceptConnection, closeFd, receiveFd, unixListener } from "./libc.ts";

export type ConsoleSocket = {
  /** Master end of the terminal; belongs to the caller. Never settles when `close` comes first. */
  readonly terminal: Promise<number>;
  close(): void;
};

const onceReadable = (fd: number, held: Set<node.PollHandle>): Promise<void> =>
  new Promise((resolve) => {
    const handle = koffi.node.poll(fd, { readable: true }, () => {
      handle.close();
      held.delete(handle);
      resolve();
    });
    held.add(handle);
  });

export const listenForTerminal = (path: string): ConsoleSocket => {
  const listener = unixListener(path);
  const held = new Set<node.PollHandle>();
  const fds = new Set([listener]);
  const receive = async () => {
    await onceReadable(listener, held);
    const connection = acceptConnection(listener);
    fds.add(connection);
    await onceReadable(connection, held);
    return receiveFd(connection);
  };
  return {
    terminal: receive(),
    close: () => {
      for (const handle of held) handle.close();
      held.clear();
      for (const fd of fds) closeFd(fd);
      fds.clear();
      rmSync(path, { force: true });
    },
  };
};
