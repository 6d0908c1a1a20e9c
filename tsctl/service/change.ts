// Changes of a service: read, change, write with the version that was read; again when somebody else was faster.
import { TswarmError } from "#base/errors.ts";
import { type Service, ServiceSpec } from "#proto/gen/types.ts";
import type { Cli } from "#tsctl/cli.ts";

const ATTEMPTS = 5;

export type ServiceChange = { readonly spec: ServiceSpec } | "rollback";

export const changeService = async (
  cli: Cli,
  ref: string,
  change: (service: Service) => ServiceChange,
): Promise<Service> => {
  const control = await cli.control();
  for (let attempt = 1; ; attempt++) {
    const { service } = await control.getService({ ref });
    const wanted = change(service!);
    const rollback = wanted === "rollback";
    try {
      const answer = await control.updateService({
        id: service!.id,
        version: service!.meta?.version ?? 0,
        spec: rollback ? undefined : ServiceSpec.fromPartial(wanted.spec),
        rollback,
      });
      for (const warning of answer.warnings) cli.err.write(`warning: ${warning}\n`);
      return answer.service!;
    } catch (error) {
      if (!(error instanceof TswarmError && error.code === "stale_version") || attempt === ATTEMPTS) throw error;
    }
  }
};
