// What the forms are spared by script: to be sent twice, to be lost, a long list of topics, and times
// that are taken for those of another zone.

const sent = new WeakSet();

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.sending) return;
  if (sent.has(form)) return event.preventDefault();
  sent.add(form);
  const button = form.querySelector("button[type=submit]");
  button.setAttribute("aria-disabled", "true");
  button.dataset.name = button.textContent;
  button.textContent = form.dataset.sending;
});
// A page that comes back out of the browser's memory can be sent again: under the same request id.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sending]")) {
    if (!sent.delete(form)) continue;
    const button = form.querySelector("button[type=submit]");
    button.removeAttribute("aria-disabled");
    button.textContent = button.dataset.name;
  }
});

for (const form of document.querySelectorAll("form.compose")) {
  const begun = new URLSearchParams(new FormData(form)).toString();
  const isChanged = () => new URLSearchParams(new FormData(form)).toString() !== begun;
  addEventListener("beforeunload", (event) => {
    if (!sent.has(form) && isChanged()) event.preventDefault();
  });

  const pick = form.querySelector("input.pick");
  if (pick) {
    const items = [...form.querySelectorAll(".topics-field li")];
    pick.hidden = false;
    pick.addEventListener("input", () => {
      const wanted = pick.value.trim().toLocaleLowerCase();
      for (const item of items) {
        const value = item.querySelector("input").value;
        item.hidden = !`${item.textContent} ${value}`.toLocaleLowerCase().includes(wanted) && !item.querySelector("input:checked");
      }
    });
    // It narrows down, and sends nothing.
    pick.addEventListener("keydown", (event) => {
      if (event.key === "Enter") event.preventDefault();
    });
  }
}
// What is written in UTC is shown in the reader's own zone, too.
for (const input of document.querySelectorAll("input[type=datetime-local]")) {
  const own = document.createElement("output");
  own.className = "hint";
  own.htmlFor = input.id;
  const tell = () => {
    const at = new Date(`${input.value}Z`);
    const form = { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short" };
    own.textContent = Number.isNaN(at.getTime()) ? "" : `= ${at.toLocaleString(document.documentElement.lang, form)}`;
  };
  input.after(own);
  input.addEventListener("input", tell);
  tell();
}
document.querySelector("main [role=alert][tabindex]")?.focus();
