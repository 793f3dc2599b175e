// What a form is spared by script: to be sent twice, to be lost, and a long list of topics.

for (const form of document.querySelectorAll("form.compose")) {
  const button = form.querySelector("button[type=submit]");
  const name = button.textContent;
  let isSent = false;
  const begun = new URLSearchParams(new FormData(form)).toString();
  const isChanged = () => new URLSearchParams(new FormData(form)).toString() !== begun;

  form.addEventListener("submit", (event) => {
    if (isSent) return event.preventDefault();
    isSent = true;
    button.setAttribute("aria-disabled", "true");
    button.textContent = form.dataset.sending;
  });
  // A page that comes back out of the browser's memory can be sent again: under the same request id.
  addEventListener("pageshow", () => {
    isSent = false;
    button.removeAttribute("aria-disabled");
    button.textContent = name;
  });
  addEventListener("beforeunload", (event) => {
    if (!isSent && isChanged()) event.preventDefault();
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
document.querySelector(".sheet [role=alert]")?.focus();
