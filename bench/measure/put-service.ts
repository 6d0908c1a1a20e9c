// What etcd's KV/Put is to etcd, on top of a log: the bytes are proposed as they came, and answered when they are applied.
import { createServer, type Http2Server, type ServerHttp2Stream } from "node:http2";
import * as grpc from "@grpc/grpc-js";
import { TswarmError } from "#base/errors.ts";
import { PUT_PATH } from "./put-client.ts";

export type Propose = (request: Buffer) => Promise<number>;

/** PutResponse { header { revision } }: 1 message of 3 int64 (etcdserverpb.ResponseHeader). */
const response = (revision: number): Buffer => {
  const header: number[] = [0x18];
  let rest = revision;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) header.push((rest % 0x80) | 0x80);
  header.push(rest);
  return Buffer.from([0x0a, header.length, ...header]);
};

const UNAVAILABLE = 14;
const OK_HEADERS = { ":status": 200, "content-type": "application/grpc" };

const refuse = (stream: ServerHttp2Stream, error: unknown): void => {
  const { message } = TswarmError.from(error);
  if (stream.destroyed) return;
  stream.respond({ ...OK_HEADERS, "grpc-status": UNAVAILABLE, "grpc-message": message }, { endStream: true });
};

const answer = (stream: ServerHttp2Stream, index: number): void => {
  if (stream.destroyed) return;
  stream.respond(OK_HEADERS, { waitForTrailers: true });
  stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": 0 }));
  const message = response(index);
  const frame = Buffer.alloc(5 + message.length);
  frame.writeUInt32BE(message.length, 1);
  message.copy(frame, 5);
  stream.end(frame);
};

/** On node:http2, framed by hand as the client does. */
export const http2PutServer = (propose: Propose): Http2Server => {
  const server = createServer();
  server.on("stream", (stream) => {
    const parts: Buffer[] = [];
    stream.on("error", () => {});
    stream.on("data", (part: Buffer) => parts.push(part));
    stream.on("end", () => {
      const frame = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
      propose(frame.subarray(5)).then(
        (index) => answer(stream, index),
        (error) => refuse(stream, error),
      );
    });
  });
  return server;
};

const raw = (bytes: Buffer): Buffer => bytes;

/** On grpc-js, which tswarm's own services use. */
export const addGrpcPut = (server: grpc.Server, propose: Propose): void =>
  server.addService(
    {
      put: {
        path: PUT_PATH,
        requestStream: false,
        responseStream: false,
        requestSerialize: raw,
        requestDeserialize: raw,
        responseSerialize: raw,
        responseDeserialize: raw,
      },
    },
    {
      put: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
        propose(call.request).then(
          (index) => done(null, response(index)),
          (error) => done({ code: grpc.status.UNAVAILABLE, details: TswarmError.from(error).message }),
        );
      },
    },
  );
