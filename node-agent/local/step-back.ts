// What a manager asks the others about its own place among them, with its own certificate: that they count on it no longer, or
// whether they still do.
import { TswarmError } from "#base/errors.ts";
import type { Membership } from "#base/node/identity-files.ts";
import { ControlDefinition } from "#proto/gen/control.ts";
import { NodeRole } from "#proto/gen/types.ts";
import { createClient, openChannel, type RpcClient } from "#proto/rpc/client.ts";
import { clientCredentials } from "#proto/rpc/security.ts";

const DEADLINE_MS = 5_000;

/** Asks one manager after the other, until one can be reached; rejects with the last one's error. */
const askOne = async <T>(
  membership: Membership,
  managers: readonly string[],
  question: (control: RpcClient<ControlDefinition>) => Promise<T>,
): Promise<T> => {
  let failure: unknown = new TswarmError("unavailable", "no other manager is known");
  for (const address of managers) {
    const channel = openChannel(address, clientCredentials(membership));
    try {
      return await question(createClient(ControlDefinition, channel));
    } catch (error) {
      failure = error;
      if (TswarmError.from(error).code !== "unavailable") break;
    } finally {
      channel.close();
    }
  }
  throw failure;
};

/** The node becomes a worker for the cluster, which takes it out of the quorum next. The last manager is refused. */
export const resign = (membership: Membership, managers: readonly string[]): Promise<void> =>
  askOne(membership, managers, async (control) => {
    const { node } = (await control.getNode({ ref: membership.nodeId }, { deadlineMs: DEADLINE_MS })).node!;
    const { id, meta, spec } = node!;
    const request = { id, version: meta!.version, spec: { ...spec!, role: NodeRole.WORKER } };
    await control.updateNode(request, { deadlineMs: DEADLINE_MS });
  });

/** Takes back the registration of a node whose manager could not join the quorum. */
export const withdraw = (membership: Membership, managers: readonly string[]): Promise<void> =>
  askOne(membership, managers, async (control) => {
    await control.removeNode({ ref: membership.nodeId, force: true }, { deadlineMs: DEADLINE_MS });
  });

/** Whether the node has a member in the quorum at this moment, voter or not. */
export const isInQuorum = (membership: Membership, managers: readonly string[]): Promise<boolean> =>
  askOne(membership, managers, async (control) => {
    const { node } = (await control.getNode({ ref: membership.nodeId }, { deadlineMs: DEADLINE_MS })).node!;
    return node!.manager !== undefined;
  });
