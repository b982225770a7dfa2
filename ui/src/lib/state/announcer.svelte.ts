/** One polite voice for assistive technology, apart from what is seen. */
class Announcer {
  text = $state('');

  say(text: string): void {
    // The same words twice would not be spoken; a no-break space makes them other words.
    this.text = this.text === text ? `${text}\u00a0` : text;
  }
}

export const announcer = new Announcer();
