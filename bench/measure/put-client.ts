// Puts in a closed loop over one HTTP/2 connection: gRPC framed by hand on node:http2, the cheapest client that Node has, so
// that what is measured is the server. Speaks etcd's KV/Put (etcd v3.4, etcdserver/etcdserverpb/rpc.proto).
import { type ClientHttp2Session, connect } from "node:http2";

export const PUT_PATH = "/etcdserverpb.KV/Put";
export const VALUE_BYTES = 256;
const KEY_BYTES = 16;
const KEYS = 10_000;

export type Load = {
  readonly count: number;
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  /** Of the client's process, in microseconds. */
  readonly cpuMicros: number;
};

// PutRequest: 1 key bytes, 2 value bytes; before it the 5 bytes of a gRPC frame. Only the key differs.
const TEMPLATE = Buffer.concat([
  Buffer.from([0, 0, 0, (2 + KEY_BYTES + 3 + VALUE_BYTES) >> 8, (2 + KEY_BYTES + 3 + VALUE_BYTES) & 0xff]),
  Buffer.from([0x0a, KEY_BYTES]),
  Buffer.alloc(KEY_BYTES, "k"),
  Buffer.from([0x12, 0x80 | (VALUE_BYTES & 0x7f), VALUE_BYTES >> 7]),
  Buffer.alloc(VALUE_BYTES, "v"),
]);
const KEY_END = 5 + 2 + KEY_BYTES;

const HEADERS = { ":method": "POST", ":path": PUT_PATH, "content-type": "application/grpc", te: "trailers" };

/** One put; rejects with the status when it was refused. */
const put = (session: ClientHttp2Session, key: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const frame = Buffer.from(TEMPLATE);
    const digits = String(key);
    frame.write(digits, KEY_END - digits.length, "latin1");
    const stream = session.request(HEADERS);
    const over = (headers: { readonly [name: string]: unknown }): void => {
      if (headers["grpc-status"] === "0") resolve();
      else reject(new Error(`put: status ${headers["grpc-status"]} ${headers["grpc-message"]}`));
    };
    stream.once("response", (headers) => {
      if (headers["grpc-status"] !== undefined) over(headers);
    });
    stream.once("trailers", over);
    stream.once("error", reject);
    stream.once("close", () => reject(new Error("put: no status")));
    stream.resume();
    stream.end(frame);
  });

export type PutClient = {
  put(key: number): Promise<void>;
  /** `clients` puts are always under way, for `seconds`. */
  load(clients: number, seconds: number): Promise<Load>;
  close(): void;
};

/** Resolves when connected. */
export const openPutClient = async (port: number): Promise<PutClient> => {
  const session = connect(`http://127.0.0.1:${port}`);
  await new Promise<void>((resolve, reject) => {
    session.once("error", reject);
    // With the settings comes how many streams the server allows; before that it is 100.
    session.once("remoteSettings", () => resolve());
  });
  // The puts in flight report it.
  session.on("error", () => {});
  return {
    put: (key) => put(session, key),
    load: async (clients, seconds) => {
      const latencies: number[] = [];
      const cpu = process.cpuUsage();
      const begin = performance.now();
      const end = begin + seconds * 1000;
      const one = async (): Promise<void> => {
        for (let at = performance.now(); at < end; ) {
          await put(session, Math.floor(Math.random() * KEYS));
          const now = performance.now();
          latencies.push(now - at);
          at = now;
        }
      };
      await Promise.all(Array.from({ length: clients }, one));
      const took = (performance.now() - begin) / 1000;
      const { user, system } = process.cpuUsage(cpu);
      return { ...summary(latencies, took), cpuMicros: user + system };
    },
    close: () => session.destroy(),
  };
};

/** Latencies in ms; sorts them. */
export const summary = (latencies: number[], seconds: number): Omit<Load, "cpuMicros"> => {
  latencies.sort((a, b) => a - b);
  const at = (q: number) => latencies[Math.floor(latencies.length * q)] ?? 0;
  return { count: latencies.length, perSecond: latencies.length / seconds, p50: at(0.5), p99: at(0.99) };
};
