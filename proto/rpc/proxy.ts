// Passes whole services on to another process as bytes, without decoding: an agent to a manager, a follower to the leader.
import {
  type Client,
  type ClientDuplexStream,
  Metadata,
  type Server,
  type ServerDuplexStream,
  type ServiceDefinition,
  type ServiceError,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { methodPath, type RpcDefinition } from "#proto/rpc/definition.ts";
import type { Guard } from "#proto/rpc/server.ts";
import { peerOf } from "#proto/rpc/server.ts";
import { toServiceError } from "#proto/rpc/status.ts";

const raw = (bytes: Buffer): Buffer => bytes;

/** Pipes one call, whatever its shape: gRPC's framing is the same for unary and streams. */
const pipe = (path: string, call: ServerDuplexStream<Buffer, Buffer>, channel: Client): void => {
  const onward = channel.makeBidiStreamRequest(path, raw, raw, new Metadata()) as ClientDuplexStream<Buffer, Buffer>;
  call.on("cancelled", () => onward.cancel());
  call.on("data", (message: Buffer) => {
    if (!onward.write(message)) {
      call.pause();
      onward.once("drain", () => call.resume());
    }
  });
  call.on("end", () => onward.end());
  onward.on("data", (message: Buffer) => {
    if (!call.write(message)) {
      onward.pause();
      call.once("drain", () => onward.resume());
    }
  });
  onward.on("end", () => call.end());
  onward.on("error", (error: ServiceError) =>
    call.emit("error", { code: error.code, details: error.details, metadata: error.metadata }),
  );
};

/** All methods of the service answered by whatever channel `target` names at the time of the call; it throws to refuse. */
export const addProxy = (
  server: Server,
  definition: RpcDefinition,
  target: () => Client | Promise<Client>,
  guard?: Guard,
): void => {
  const service: Record<string, ServiceDefinition[string]> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const [name, method] of Object.entries(definition.methods)) {
    const path = methodPath(definition, method);
    service[name] = {
      path,
      // Both directions as streams: the same bytes on the wire, and one code path.
      requestStream: true,
      responseStream: true,
      requestSerialize: raw,
      requestDeserialize: raw,
      responseSerialize: raw,
      responseDeserialize: raw,
    };
    implementation[name] = async (call: ServerDuplexStream<Buffer, Buffer>) => {
      try {
        guard?.(name, { peer: peerOf(call), address: call.getPeer(), signal: new AbortController().signal });
        pipe(path, call, await target());
      } catch (error) {
        call.emit("error", toServiceError(error));
      }
    };
  }
  server.addService(service, implementation);
};
