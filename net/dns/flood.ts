// For tests and benches: a thread in a namespace that asks a DNS server as fast as it answers. Started as a worker; see `flood`.
import { createSocket, type Socket } from "node:dgram";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { udpSocketIn } from "#net/kernel/sockets.ts";

export type FloodOptions = {
  readonly netnsPath: string;
  readonly server: string;
  /** Asked for its A records. */
  readonly name: string;
  readonly questions: number;
  /** Sockets, each with its share of the questions. */
  readonly clients: number;
  /** Questions that each client has without an answer at most. */
  readonly inFlight: number;
};

export type FloodResult = {
  /** With the id of a question of that client, and at least one record. */
  readonly answered: number;
  readonly seconds: number;
  /** Of each answered question, in the order of the answers. */
  readonly microseconds: Float64Array;
};

/** Without an answer for so long the rest is taken to be lost. */
const SILENCE_MS = 3_000;
const RECEIVE_BYTES = 8 * 1024 * 1024;

export const flood = (options: FloodOptions): Promise<FloodResult> =>
  new Promise((resolve, reject) => {
    new Worker(new URL(import.meta.url), { workerData: { flood: options } })
      .once("message", resolve)
      .once("error", reject);
  });

const questionFor = (name: string): Buffer =>
  Buffer.concat([
    Buffer.of(0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0),
    ...name.split(".").flatMap((label) => [Buffer.of(label.length), Buffer.from(label)]),
    Buffer.of(0, 0, 1, 0, 1),
  ]);

const run = async ({ netnsPath, server, name, questions, clients, inFlight }: FloodOptions): Promise<FloodResult> => {
  const microseconds = new Float64Array(questions);
  const sockets: Socket[] = [];
  let answered = 0;
  let asked = 0;
  let progress = () => {};
  const finished = Promise.withResolvers<void>();

  const addClient = async (): Promise<() => void> => {
    const socket = createSocket({ type: "udp4", lookup: (address, _, found) => found(null, address, 4) });
    sockets.push(socket);
    const fd = udpSocketIn(netnsPath, "127.0.0.1", 0, RECEIVE_BYTES);
    await new Promise<void>((done) => socket.bind({ fd }, () => done()));
    const sentAt = new Map<number, number>();
    let id = 0;
    const ask = () => {
      if (asked === questions) return;
      asked++;
      id = (id + 1) & 0xffff;
      sentAt.set(id, performance.now());
      const question = questionFor(name);
      question.writeUInt16BE(id, 0);
      socket.send(question, 53, server);
    };
    socket.on("message", (message: Buffer) => {
      const at = sentAt.get(message.readUInt16BE(0));
      if (at === undefined || message.readUInt16BE(6) === 0) return;
      sentAt.delete(message.readUInt16BE(0));
      microseconds[answered++] = (performance.now() - at) * 1000;
      progress();
      if (answered === questions) finished.resolve();
      else ask();
    });
    return () => {
      for (let i = 0; i < inFlight; i++) ask();
    };
  };

  const starts = await Promise.all(Array.from({ length: clients }, addClient));
  const silence = setTimeout(finished.resolve, SILENCE_MS);
  progress = () => answered % 1000 === 0 && silence.refresh();
  const started = performance.now();
  for (const start of starts) start();
  await finished.promise;
  const seconds = (performance.now() - started) / 1000;
  clearTimeout(silence);
  for (const socket of sockets) socket.close();
  return { answered, seconds, microseconds: microseconds.subarray(0, answered) };
};

if (!isMainThread && workerData?.flood) parentPort!.postMessage(await run(workerData.flood));
