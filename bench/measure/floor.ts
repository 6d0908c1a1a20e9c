// The least that a durable put costs here: bytes over a TCP connection to another process, written to a file that was filled
// with zeros, fdatasync, one byte back. What arrives during a sync waits for the next. No replication, no protocol.
//   node floor.ts FILE PORT serves it.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { connect, createServer } from "node:net";
import { type Load, summary, VALUE_BYTES } from "./put-client.ts";

/** As long as the put's request. */
const REQUEST = Buffer.alloc(VALUE_BYTES + 21, "v");
const FILE_BYTES = 64 << 20;

const serve = async (file: string, port: number): Promise<void> => {
  const fd = fs.openSync(file, "w");
  fs.writeSync(fd, Buffer.alloc(FILE_BYTES));
  fs.fsyncSync(fd);
  let at = 0;
  const server = createServer({ noDelay: true }, (socket) => {
    let waiting: Buffer[] = [];
    let bytes = 0;
    let syncing = false;
    const commit = (): void => {
      const batch = Buffer.concat(waiting);
      waiting = [];
      if (at + batch.length > FILE_BYTES) at = 0;
      fs.writeSync(fd, batch, 0, batch.length, at);
      at += batch.length;
      syncing = true;
      fs.fdatasync(fd, (error) => {
        if (error) throw error;
        syncing = false;
        const before = Math.floor(bytes / REQUEST.length);
        bytes += batch.length;
        const answers = Math.floor(bytes / REQUEST.length) - before;
        if (answers > 0) socket.write(Buffer.alloc(answers));
        if (waiting.length > 0) commit();
      });
    };
    socket.on("error", () => {});
    socket.on("data", (data) => {
      waiting.push(data);
      if (!syncing) commit();
    });
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  process.once("disconnect", () => process.exit(0));
  process.send!("up");
};

export const startFloor = async (file: string, port: number): Promise<ChildProcess> => {
  const child = fork(import.meta.filename, [file, String(port)]);
  await once(child, "message");
  return child;
};

/** `clients` requests are always under way, for `seconds`. */
export const floorLoad = async (port: number, clients: number, seconds: number): Promise<Load> => {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  await once(socket, "connect");
  const latencies: number[] = [];
  // Answers come in the order of the requests.
  const sent: number[] = [];
  let first = 0;
  const cpu = process.cpuUsage();
  const begin = performance.now();
  const end = begin + seconds * 1000;
  for (let i = 0; i < clients; i++) sent.push(begin);
  socket.write(Buffer.concat(Array.from({ length: clients }, () => REQUEST)));
  await new Promise<void>((resolve) => {
    socket.on("data", (answers) => {
      const now = performance.now();
      for (let i = 0; i < answers.length; i++) latencies.push(now - sent[first++]!);
      if (now < end) {
        for (let i = 0; i < answers.length; i++) sent.push(now);
        socket.write(Buffer.concat(Array.from({ length: answers.length }, () => REQUEST)));
      } else if (first === sent.length) resolve();
    });
  });
  const took = (performance.now() - begin) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  socket.destroy();
  return { ...summary(latencies, took), cpuMicros: user + system };
};

if (process.argv[1] === import.meta.filename) await serve(process.argv[2]!, Number(process.argv[3]));
