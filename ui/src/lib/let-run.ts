/** The one button of a download that waits for Wi-Fi, power or its hours. */
import type { DownloadView } from './api/types/DownloadView';
import { host } from './host';
import { app } from './state/app.svelte';
import { downloads } from './state/downloads.svelte';
import { toasts } from './state/toasts.svelte';

/** Whether the platform can't say what the network costs, and that is all this download waits for. */
export function asksAboutNetwork(download: DownloadView): boolean {
  return download.wait_reason === 'wifi' && (app.device?.asks ?? false) && download.own.wifi_only !== true;
}

/** Lets it run in spite of what it waits for; holds for this one until it is complete. */
export async function downloadAnyway(download: DownloadView): Promise<void> {
  const own = { ...download.own };
  if (download.wait_reason === 'wifi') own.wifi_only = false;
  if (download.wait_reason === 'power') own.on_battery = true;
  if (download.wait_reason === 'schedule') own.at_any_hour = true;
  try {
    downloads.patch(await host.commands.downloads.setConditions({ download_id: download.id, own }));
  } catch (thrown) {
    toasts.failure(thrown);
  }
}

/** The learner says that the network in use is fine, for all downloads. */
export async function confirmNetwork(): Promise<void> {
  try {
    app.device = await host.commands.device.confirmNetwork();
  } catch (thrown) {
    toasts.failure(thrown);
  }
}
