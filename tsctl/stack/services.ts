import { TswarmError } from "#base/errors.ts";
import { STACK_LABEL } from "#control-plane/stack/service.ts";
import type { Filter, ServiceView } from "#proto/gen/control.ts";
import type { Cli, Verb } from "#tsctl/cli.ts";
import { type ListOptions, listOptions, printList, toFilters } from "#tsctl/output/list.ts";
import { SERVICE_LAYOUT, serviceRows } from "#tsctl/service/ls.ts";

/** Services of one stack; a stack without any does not exist. */
export const servicesOfStack = async (cli: Cli, stack: string): Promise<ServiceView[]> => {
  const filters: Filter[] = [{ key: "label", values: [`${STACK_LABEL}=${stack}`] }];
  const { services } = await (await cli.control()).listServices({ filters });
  if (services.length === 0) throw new TswarmError("not_found", `there is no stack "${stack}". See: tsctl stack ls`);
  return services;
};

export const stackServices: Verb = (noun, cli) =>
  listOptions(noun.command("services").description("List the services of a stack"), "id, name, label")
    .argument("<stack>")
    .action(async (stack: string, options: ListOptions) => {
      const wanted = toFilters(options.filter);
      const services = await servicesOfStack(cli, stack);
      if (wanted.length === 0) return printList(cli, SERVICE_LAYOUT, serviceRows(services, options), options);
      const { services: matching } = await (await cli.control()).listServices({ filters: wanted });
      const ids = new Set(services.map((view) => view.service?.id));
      const both = matching.filter((view) => ids.has(view.service?.id));
      printList(cli, SERVICE_LAYOUT, serviceRows(both, options), options);
    });
