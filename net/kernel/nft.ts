// nftables by libnftables, in process. Good for base rulesets; too slow for single elements of large rulesets, use
// nft-socket.ts there.
// It waits with select(2), which ends the process when a descriptor is above 1,023; an agent with many containers has that
// many. So low descriptors are kept free for its sockets. A thread that opens something at the moment at which one is handed
// over takes it, so what each container keeps open for long is above them (highFd in libc.ts).
// Exports: keepDescriptorsForNft(), MOST_SESSIONS; NftSession.open(netnsPath | null): run(text), close(); runNft(netnsPath | null, text): void, listTable(netnsPath | null, family, name): JSON rules or undefined,
// nftJson(netnsPath | null, command): parsed JSON.
import koffi from "koffi";
import { TswarmError } from "#base/errors.ts";
import { call, closeFd, getOption, isOpen, libc, openFd, SOL_SOCKET } from "./libc.ts";
import { NETLINK_NETFILTER } from "./netlink-socket.ts";
import { withNetns } from "./netns.ts";

const NFT_CTX_OUTPUT_JSON = 1 << 4;

type Context = { readonly __context: unique symbol };
type Library = {
  create: (flags: number) => Context | null;
  free: (ctx: Context) => void;
  bufferOutput: (ctx: Context) => number;
  bufferError: (ctx: Context) => number;
  output: (ctx: Context) => string | null;
  error: (ctx: Context) => string | null;
  setOutputFlags: (ctx: Context, flags: number) => void;
  run: (ctx: Context, text: string) => number;
};

let loaded: Library | undefined;
const library = (): Library => {
  if (loaded !== undefined) return loaded;
  const lib = koffi.load("libnftables.so.1");
  loaded = {
    create: lib.func("void *nft_ctx_new(uint32_t flags)"),
    free: lib.func("void nft_ctx_free(void *ctx)"),
    bufferOutput: lib.func("int nft_ctx_buffer_output(void *ctx)"),
    bufferError: lib.func("int nft_ctx_buffer_error(void *ctx)"),
    output: lib.func("const char *nft_ctx_get_output_buffer(void *ctx)"),
    error: lib.func("const char *nft_ctx_get_error_buffer(void *ctx)"),
    setOutputFlags: lib.func("void nft_ctx_output_set_flags(void *ctx, uint32_t flags)"),
    run: lib.func("int nft_run_cmd_from_buffer(void *ctx, const char *text)"),
  };
  return loaded;
};

/**
 * A context on one namespace, for several transactions. It keeps the namespace alive until it is closed; closing waits for
 * the kernel to free what the transactions deleted (12 ms and more), so close many together rather than one after each.
 */
export class NftSession {
  readonly #netnsPath: string | null;
  readonly #ctx: Context;
  #closed = false;

  private constructor(netnsPath: string | null, ctx: Context) {
    this.#netnsPath = netnsPath;
    this.#ctx = ctx;
  }

  static open(netnsPath: string | null): NftSession {
    const nft = library();
    // The context opens its socket when it is made and resolves interface names when it runs: both inside.
    const ctx = withNetns(netnsPath, createContext);
    if (ctx === null) throw new TswarmError("exhausted", "nft: no context");
    nft.bufferOutput(ctx);
    nft.bufferError(ctx);
    return new NftSession(netnsPath, ctx);
  }

  /** Runs nft text as one transaction: all of it or nothing. Gives what it printed. */
  run(text: string, outputFlags = 0): string {
    const nft = library();
    return withNetns(this.#netnsPath, () => {
      nft.setOutputFlags(this.#ctx, outputFlags);
      if (nft.run(this.#ctx, text) !== 0) throw nftError(nft.error(this.#ctx) ?? "", text);
      return nft.output(this.#ctx) ?? "";
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    library().free(this.#ctx);
    keepDescriptorsForNft();
  }
}

/** Sessions that may be open at once. */
export const MOST_SESSIONS = 48;
const FD_SETSIZE = 1024;
const F_DUPFD_CLOEXEC = 1030;
const SO_PROTOCOL = 38;
/** Descriptors of nothing, each the place of a session's socket. */
const places: number[] = [];
let nothing: number | undefined;

/** Call it before the process has a thousand descriptors; every session that is opened does, and every one that is closed. */
export const keepDescriptorsForNft = (): void => {
  nothing ??= openFd("/dev/null");
  while (places.length < MOST_SESSIONS) {
    const fd = call("keep a descriptor", libc.fcntl(nothing, F_DUPFD_CLOEXEC, 0));
    if (fd >= FD_SETSIZE) {
      closeFd(fd);
      return;
    }
    places.push(fd);
  }
};

/** In the namespace of the caller. */
const createContext = (): Context | null => {
  keepDescriptorsForNft();
  for (;;) {
    const place = places.pop();
    if (place === undefined) throw new TswarmError("exhausted", "nft: no descriptor below 1,024 is left");
    // A new socket gets the lowest free descriptor: this one, or one below.
    closeFd(place);
    const ctx = library().create(0);
    const protocol = getOption(place, SOL_SOCKET, SO_PROTOCOL);
    if (ctx === null || protocol === NETLINK_NETFILTER || !isOpen(place)) return ctx;
    // Another thread was faster.
    library().free(ctx);
  }
};

const run = (netnsPath: string | null, text: string, flags: number): string => {
  const session = NftSession.open(netnsPath);
  try {
    return session.run(text, flags);
  } finally {
    session.close();
  }
};

const nftError = (buffer: string, text: string): TswarmError => {
  const said = buffer.trim();
  const code = /No such file or directory/.test(said)
    ? "not_found"
    : /File exists|Device or resource busy/.test(said)
      ? "conflict"
      : /Operation not supported/.test(said)
        ? "unsupported"
        : /syntax error/.test(said)
          ? "internal"
          : "invalid";
  return new TswarmError(code, `nft: ${said === "" ? `refused without a word: ${text.slice(0, 200)}` : said}`);
};

/** Runs nft text as one transaction: all of it or nothing. */
export const runNft = (netnsPath: string | null, text: string): void => {
  run(netnsPath, text, 0);
};

export type NftObject = Readonly<Record<string, unknown>>;

/** The objects that a `list …` command gives, without the metainfo. */
export const nftJson = (netnsPath: string | null, command: string): NftObject[] => {
  const parsed = JSON.parse(run(netnsPath, command, NFT_CTX_OUTPUT_JSON)) as { nftables: NftObject[] };
  return parsed.nftables.filter((o) => !("metainfo" in o));
};

/** A table's chains, sets, maps and rules as nft's JSON; undefined when there is no such table. */
export const listTable = (netnsPath: string | null, family: string, name: string): NftObject[] | undefined => {
  try {
    return nftJson(netnsPath, `list table ${family} ${name}`);
  } catch (error) {
    if (error instanceof TswarmError && error.code === "not_found") return undefined;
    throw error;
  }
};
