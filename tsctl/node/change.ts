// Changes of a node's spec: read, change, write with the version that was read; again when somebody else was faster.
import { TswarmError } from "#base/errors.ts";
import { NodeSpec } from "#proto/gen/types.ts";
import type { Cli } from "#tsctl/cli.ts";
import { resolveSelf } from "#tsctl/node/self.ts";

const ATTEMPTS = 5;

/** @return whether there was anything to change */
export const changeNode = async (cli: Cli, ref: string, change: (spec: NodeSpec) => NodeSpec): Promise<boolean> => {
  const control = await cli.control();
  const resolved = await resolveSelf(cli, ref);
  for (let attempt = 1; ; attempt++) {
    const { node } = await control.getNode({ ref: resolved });
    const { id, meta, spec } = node!.node!;
    const next = change(NodeSpec.fromPartial(spec ?? {}));
    if (JSON.stringify(next) === JSON.stringify(NodeSpec.fromPartial(spec ?? {}))) return false;
    try {
      await control.updateNode({ id, version: meta?.version ?? 0, spec: next });
      return true;
    } catch (error) {
      if (!(error instanceof TswarmError && error.code === "stale_version") || attempt === ATTEMPTS) throw error;
    }
  }
};
