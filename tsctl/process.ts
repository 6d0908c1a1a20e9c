// The real Cli: this process's terminal, files and connection.
import { createReadStream, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { TswarmError } from "#base/errors.ts";
import type { Cli, Input, Output } from "#tsctl/cli.ts";
import {
  type Configuration,
  type Context,
  type ContextChoice,
  type ContextFiles,
  resolveContext,
} from "#tsctl/context.ts";
import { unreachable } from "#tsctl/output/errors.ts";

const output = (stream: NodeJS.WriteStream): Output => ({
  write: (text) => void stream.write(text),
  // Pipes take what they take, and Node keeps the rest.
  drained: async () => {
    if (stream.writableNeedDrain) await new Promise<void>((resolve) => stream.once("drain", resolve));
  },
  isTTY: stream.isTTY === true,
  get columns() {
    return stream.columns ?? Number.MAX_SAFE_INTEGER;
  },
});

async function* standardInput(): AsyncGenerator<Uint8Array> {
  for await (const chunk of process.stdin) yield chunk as Buffer;
}

const input: Input = {
  get isTTY() {
    return process.stdin.isTTY === true;
  },
  bytes: standardInput,
  raw: () => {
    process.stdin.setRawMode(true);
    return () => process.stdin.setRawMode(false);
  },
};

const readJson = <T>(path: string): T | undefined => {
  if (!existsSync(path)) return undefined;
  try {
    return JSON.parse(readFileSync(path, "utf8")) as T;
  } catch (error) {
    throw new TswarmError("invalid", `${path} is not valid JSON: ${(error as Error).message}. Correct or remove it.`);
  }
};

const contextFiles = (root: string): ContextFiles => {
  const configPath = process.env.TSWARM_CONFIG || join(homedir(), ".config/tswarm/config.json");
  const clusterPath = join(root, "build/cluster/context.json");
  return {
    configPath,
    clusterPath,
    config: () => ({ contexts: {}, ...readJson<Configuration>(configPath) }),
    saveConfig: (config) => {
      mkdirSync(dirname(configPath), { recursive: true, mode: 0o700 });
      // It may hold private keys.
      writeFileSync(configPath, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
    },
    cluster: () => readJson<Context>(clusterPath),
  };
};

const interruptSignal = (): AbortSignal => {
  const controller = new AbortController();
  process.on("SIGINT", () => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort();
  });
  return controller.signal;
};

/** @param root the project's folder, where `make up` leaves the address of its cluster */
export const processCli = (root: string, choice: () => ContextChoice): Cli => {
  const contexts = contextFiles(resolve(root));
  const dial = async () => {
    const context = resolveContext(choice(), process.env, contexts);
    const [{ connect }, { ControlDefinition }, { NodeLocalDefinition }] = await Promise.all([
      import("#tsctl/connection/client.ts"),
      import("#proto/gen/control.ts"),
      import("#proto/gen/node.ts"),
    ]);
    const connection = await connect(context).catch((error) => {
      if (error instanceof TswarmError) throw error;
      const { code, message } = error as NodeJS.ErrnoException;
      throw new TswarmError("unavailable", unreachable(context.host, context.reason, code ?? message), {
        cause: error,
      });
    });
    return {
      control: connection.client(ControlDefinition),
      local: connection.client(NodeLocalDefinition),
      // Few verbs need it: loaded for these only.
      quorum: async () => connection.client((await import("#proto/gen/quorum.ts")).QuorumDefinition),
      closed: connection.closed,
    };
  };
  let connection: ReturnType<typeof dial> | undefined;
  const connected = () => {
    if (!connection) {
      const mine = dial();
      connection = mine;
      const forget = () => {
        if (connection === mine) connection = undefined;
      };
      // A lost connection is dialed again by whoever retries.
      mine.then((c) => c.closed.then(forget), forget);
    }
    return connection;
  };
  let interrupt: AbortSignal | undefined;
  return {
    out: output(process.stdout),
    err: output(process.stderr),
    in: input,
    env: process.env,
    now: Date.now,
    sleep: (ms, signal) =>
      new Promise((done) => {
        const timer = setTimeout(done, ms);
        signal?.addEventListener("abort", () => {
          clearTimeout(timer);
          done();
        });
      }),
    control: async () => (await connected()).control,
    local: async () => (await connected()).local,
    quorum: async () => (await connected()).quorum(),
    interrupt: () => (interrupt ??= interruptSignal()),
    onResize: (callback) => {
      const changed = () => callback({ rows: process.stdout.rows, columns: process.stdout.columns });
      process.stdout.on("resize", changed);
      return () => process.stdout.off("resize", changed);
    },
    terminalSize: () => ({ rows: process.stdout.rows ?? 24, columns: process.stdout.columns ?? 80 }),
    read: async (path) => {
      if (path !== "-") return readFileSync(path);
      const chunks: Uint8Array[] = [];
      for await (const chunk of standardInput()) chunks.push(chunk);
      return Buffer.concat(chunks);
    },
    pieces: (path) => (path === "-" ? standardInput() : createReadStream(path)),
    save: async (path, pieces, check) => {
      const { saveChecked } = await import("#tsctl/save-checked.ts");
      await saveChecked(path, pieces, check);
    },
    contexts,
    version: () => readJson<{ version: string }>(join(root, "package.json"))?.version ?? "unknown",
    exit: (code) => {
      process.exitCode = code;
    },
  };
};

/** Ends when all output is written: an open connection or keyboard must not keep the process. */
export const leave = (): void => {
  const flush = (stream: NodeJS.WriteStream & Partial<Socket>, then: () => void) => stream.write("", () => then());
  flush(process.stdout, () => flush(process.stderr, () => process.exit()));
};
