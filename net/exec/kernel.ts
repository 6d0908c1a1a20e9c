// What executors and observation need of the real kernel: where the namespaces of this host are, and a netlink socket in
// each of those that one run touches.

import { readdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { netnsExists } from "#net/kernel/netns.ts";
import { keepDescriptorsForNft, MOST_SESSIONS, NftSession } from "#net/kernel/nft.ts";
import { NftSocket } from "#net/kernel/nft-socket.ts";
import { Rtnl } from "#net/kernel/rtnl.ts";
import type { NamespaceState } from "#net/model/host-state.ts";
import { isContainerNs, isOverlayNs } from "#net/model/ifname.ts";

export type SeenTable = Pick<NamespaceState, "nftDigest" | "nftChoices" | "nftListing">;

type KnownTable = {
  /** Of the namespace. */
  readonly inode: number;
  readonly generation: number;
  readonly seen: SeenTable;
};

export type KernelPlace = {
  /** Namespaces are bind mounts in `<runDir>/netns`. */
  readonly runDir: string;
  /** The host's namespace; absent: the one this process runs in. */
  readonly hostNetns?: string;
};

export const netnsPathOf = (runDir: string, name: string): string => join(runDir, "netns", name);

const MOST_SOCKETS = 256;

const closeAll = (open: Map<string, { close(): void }>): void => {
  for (const each of open.values()) each.close();
  open.clear();
};

export class Kernel {
  readonly #place: KernelPlace;
  readonly #sockets = new Map<string, Rtnl>();
  readonly #nft = new Map<string, NftSession>();
  readonly #nftSockets = new Map<string, NftSocket>();

  /** What was seen of our table in a namespace, as long as its generation is the same. */
  readonly tables = new Map<string, KnownTable>();

  constructor(place: KernelPlace) {
    this.#place = place;
    keepDescriptorsForNft();
  }

  /** null: the thread's own. */
  path(ns: string): string | null {
    return ns === "" ? (this.#place.hostNetns ?? null) : netnsPathOf(this.#place.runDir, ns);
  }

  rtnl(ns: string): Rtnl {
    let socket = this.#sockets.get(ns);
    if (socket === undefined) {
      if (this.#sockets.size >= MOST_SOCKETS) closeAll(this.#sockets);
      socket = Rtnl.open(this.path(ns));
      this.#sockets.set(ns, socket);
    }
    return socket;
  }

  nft(ns: string): NftSession {
    let session = this.#nft.get(ns);
    if (session === undefined) {
      if (this.#nft.size >= MOST_SESSIONS - 1) closeAll(this.#nft);
      session = NftSession.open(this.path(ns));
      this.#nft.set(ns, session);
    }
    return session;
  }

  nftSocket(ns: string): NftSocket {
    let socket = this.#nftSockets.get(ns);
    if (socket === undefined) {
      if (this.#nftSockets.size >= MOST_SOCKETS) closeAll(this.#nftSockets);
      socket = NftSocket.open(this.path(ns));
      this.#nftSockets.set(ns, socket);
    }
    return socket;
  }

  /** An open socket keeps a namespace alive: close it before the namespace is deleted. */
  release(ns: string): void {
    this.#sockets.get(ns)?.close();
    this.#sockets.delete(ns);
    this.#nft.get(ns)?.close();
    this.#nft.delete(ns);
    this.#nftSockets.get(ns)?.close();
    this.#nftSockets.delete(ns);
  }

  releaseAll(): void {
    closeAll(this.#sockets);
    closeAll(this.#nft);
    closeAll(this.#nftSockets);
  }

  /** Our namespaces that exist, without the host's. */
  namespaces(): string[] {
    const dir = join(this.#place.runDir, "netns");
    let names: string[];
    try {
      names = readdirSync(dir);
    } catch (error) {
      // No namespace was made yet. Any other failure must not pass for "there are none".
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      return [];
    }
    return names.filter((name) => (isContainerNs(name) || isOverlayNs(name)) && netnsExists(join(dir, name)));
  }

  removeEmptyFolder(): void {
    try {
      rmdirSync(join(this.#place.runDir, "netns"));
    } catch {
      // Not there, or something of someone else is in it.
    }
  }
}
