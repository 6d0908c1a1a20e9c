import type { ServiceView } from "#proto/gen/control.ts";
import type { Verb } from "#tsctl/cli.ts";
import { type ListOptions, listOptions, printList, type Row, shortId, toFilters } from "#tsctl/output/list.ts";
import { naturalOrder } from "#tsctl/output/natural-order.ts";
import { servicePorts } from "#tsctl/service/ports.ts";

export const SERVICE_LAYOUT = {
  headers: { ID: "ID", Name: "NAME", Mode: "MODE", Replicas: "REPLICAS", Image: "IMAGE", Ports: "PORTS" },
  columns: ["ID", "Name", "Mode", "Replicas", "Image", "Ports"],
  key: "ID",
};

export const serviceRows = (services: readonly ServiceView[], options: { trunc: boolean }): Row[] =>
  services
    .map(({ service, running, desired }) => ({
      ID: shortId(service?.id ?? "", options),
      Name: service?.spec?.annotations?.name ?? "",
      Mode: "replicated",
      Replicas: `${running}/${desired}`,
      Image: service?.spec?.task?.container?.image ?? "",
      Ports: servicePorts(service?.ports ?? []),
    }))
    .sort((a, b) => naturalOrder(a.Name, b.Name));

export const serviceLs: Verb = (noun, cli) =>
  listOptions(noun.command("ls").alias("list").description("List the services"), "id, name, label, mode").action(
    async (options: ListOptions) => {
      const filters = toFilters(options.filter);
      const { services } = await (await cli.control()).listServices({ filters });
      printList(cli, SERVICE_LAYOUT, serviceRows(services, options), options);
    },
  );
