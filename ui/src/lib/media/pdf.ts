/** pdf.js, loaded with the first document. Its worker, character maps and fonts come from the same place as the page. */
import * as pdfjs from 'pdfjs-dist/legacy/build/pdf.mjs';
import worker from 'pdfjs-dist/legacy/build/pdf.worker.min.mjs?url';

export type { PDFDocumentProxy, RenderTask } from 'pdfjs-dist';

pdfjs.GlobalWorkerOptions.workerSrc = worker;

/** Opens a document that is on the disk or comes from the network: whole, since it was made to be taken along. */
export async function openPdf(url: string): Promise<pdfjs.PDFDocumentProxy> {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  const data = new Uint8Array(await answer.arrayBuffer());
  const base = new URL('/pdf/', location.href).href;
  return await pdfjs.getDocument({
    data,
    cMapUrl: `${base}cmaps/`,
    cMapPacked: true,
    standardFontDataUrl: `${base}standard_fonts/`,
    // Neither compiled code nor evaluated code: the policy of the page allows none.
    useWasm: false,
    isEvalSupported: false,
    enableXfa: false,
  }).promise;
}

/** The words of a page as elements over its picture: to select, to search, to read aloud. */
export function textLayer(options: ConstructorParameters<typeof pdfjs.TextLayer>[0]): pdfjs.TextLayer {
  return new pdfjs.TextLayer(options);
}

export { RenderingCancelledException } from 'pdfjs-dist/legacy/build/pdf.mjs';
