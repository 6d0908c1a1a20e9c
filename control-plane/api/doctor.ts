// What the networking of the nodes lacks: each node looks for itself, all at once, and the client gets their answers as they come.
import { TswarmError } from "#base/errors.ts";
import { createQueue } from "#base/queue.ts";
import type { AgentStream, Broker } from "#control-plane/dispatcher/broker.ts";
import { resolveNode } from "#control-plane/operations/references.ts";
import type { ReadTx } from "#control-plane/state/types.ts";
import { type DoctorRequest, DoctorResponse } from "#proto/gen/control.ts";
import type { Node } from "#proto/gen/types.ts";
import type { RpcContext } from "#proto/rpc/server.ts";

/** A node that can't be reached is an answer with the reason. With `watch` the stream ends when the client goes. */
export async function* streamDoctor(
  state: ReadTx,
  broker: Broker,
  request: DoctorRequest,
  { signal }: RpcContext,
): AsyncGenerator<DoctorResponse> {
  const nodes = request.node === "" ? [...state.all("node")] : [resolveNode(state, request.node)];
  const answers = createQueue<DoctorResponse>();
  const open = new Set<AgentStream>();
  let over = signal.aborted;
  let left = nodes.length;
  if (over || left === 0) return;
  signal.addEventListener("abort", () => answers.end(), { once: true });
  const ask = async ({ id, description }: Node): Promise<void> => {
    const hostname = description?.hostname ?? "";
    try {
      const stream = await broker.open(id, { $case: "doctor", value: { ...request, node: id } });
      open.add(stream);
      if (over) stream.close();
      for await (const { frame } of stream.frames)
        if (frame?.$case === "doctor") answers.push({ ...frame.value, nodeId: id, hostname });
    } catch (error) {
      answers.push(DoctorResponse.fromPartial({ nodeId: id, hostname, error: TswarmError.from(error).message }));
    }
    if (--left === 0) answers.end();
  };
  for (const node of nodes) void ask(node);
  try {
    yield* answers;
  } finally {
    over = true;
    for (const stream of open) stream.close();
  }
}
