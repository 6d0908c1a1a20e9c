// The clients that verbs use: the same types as proto/rpc/client.ts, over one HTTP/2 connection.
import { connect as connectHttp2 } from "node:http2";
import { connect as connectSocket, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { TswarmError } from "#base/errors.ts";
import type { RpcClient, RpcOptions } from "#proto/rpc/client.ts";
import type { RpcDefinition } from "#proto/rpc/definition.ts";
import { call } from "#tsctl/connection/http2-call.ts";

/** What a context says about a host: an address, and for TCP the certificates in PEM. */
export type Endpoint = {
  readonly host: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
};

export type Connection = {
  client<D extends RpcDefinition>(definition: D): RpcClient<D>;
  close(): void;
  /** Settles when the connection is gone, whoever ended it. */
  readonly closed: Promise<void>;
};

const hostAndPort = (address: string): { host: string; port: number } => {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(address);
  if (!match)
    throw new TswarmError("invalid", `"${address}" is not an address. Write unix:/path, host:port or [v6]:port.`);
  return { host: match[1] ?? match[2]!, port: Number(match[3]) };
};

const openSocket = (endpoint: Endpoint): Socket => {
  if (endpoint.host.startsWith("unix:")) return connectSocket(endpoint.host.slice("unix:".length).replace(/^\/\//, ""));
  const { host, port } = hostAndPort(endpoint.host.replace(/^tcp:\/\//, ""));
  if (endpoint.ca === undefined)
    throw new TswarmError(
      "invalid",
      `${endpoint.host} needs certificates. Make a context with them: tsctl context create NAME --address ${endpoint.host} --ca FILE --cert FILE --key FILE`,
    );
  return connectTls({
    host,
    port,
    ca: endpoint.ca,
    ...(endpoint.cert === undefined ? {} : { cert: endpoint.cert }),
    ...(endpoint.key === undefined ? {} : { key: endpoint.key }),
    ALPNProtocols: ["h2"],
    // Certificates carry ids, not host names: what counts is that it is a manager's of this CA. A worker must not pose as one.
    checkServerIdentity: (_host, { subject }) =>
      subject.OU === "tswarm-manager" ? undefined : new Error("the certificate at the other end is not a manager's"),
  });
};

async function* one(request: unknown): AsyncGenerator<unknown> {
  yield request;
}

/** Connects before it returns, so that "nobody listens there" is told apart from what a call answers. */
export const connect = async (endpoint: Endpoint): Promise<Connection> => {
  const socket = openSocket(endpoint);
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject);
    socket.once(endpoint.host.startsWith("unix:") ? "connect" : "secureConnect", () => {
      socket.removeListener("error", reject);
      resolve();
    });
  });
  const session = connectHttp2("http://localhost", { createConnection: () => socket });
  // The calls in flight report it.
  session.on("error", () => {});
  const closed = new Promise<void>((resolve) => session.once("close", resolve));

  const client = <D extends RpcDefinition>(definition: D): RpcClient<D> => {
    const methods: Record<string, unknown> = {};
    for (const [name, method] of Object.entries(definition.methods)) {
      methods[name] = (input: unknown, options: RpcOptions = {}) => {
        const requests = method.requestStream ? (input as AsyncIterable<unknown>) : one(input);
        const responses = call(session, definition, method, requests, options.signal);
        if (method.responseStream) return responses;
        return responses.next().then(async (step) => {
          if (step.done) throw new TswarmError("internal", `${method.name} answered without a message`);
          // The status comes after the message: an error there must not be lost.
          await responses.next();
          return step.value;
        });
      };
    }
    return methods as RpcClient<D>;
  };
  return { client, close: () => session.destroy(), closed };
};
