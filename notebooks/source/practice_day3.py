# %% [markdown] lang="es"
# # Práctica del día 3: sistema distribuido
#
# Al acabar, habrás escrito a mano piezas de un sistema distribuido: un worker que un broker de verdad acepta, quién
# recibe cada tarea, cuándo se da a alguien por muerto y qué pasa entonces con su trabajo.
#
# **Duración**: {{minutes_of_day_3}} minutos. Es más de una hora: empieza por 12, 13 y 14, y sigue con lo que más te interese. Lo que escribes corre dentro del
# núcleo de verdad, en un simulador que provoca fallas.
# **Antes de empezar**: la parte guiada del [día 3](day3_distributed.ipynb), o saber qué son un broker y un latido.

# %% [markdown] lang="en"
# # Practice for day 3: distributed system
#
# Afterwards you will have written pieces of a distributed system by hand: a worker that a real broker takes in, who
# gets each task, when somebody counts as dead, and what becomes of their work then.
#
# **Time**: {{minutes_of_day_3}} minutes. It is more than an hour: begin with 12, 13 and 14, and go on with what interests you most. What you write runs
# inside the real core, in a simulator that causes faults.
# **Before you begin**: the guided part of [day 3](day3_distributed.ipynb), or know what a broker and a heartbeat are.

# %%
from labkit.practice.notebook import begin

begin("{{lang}}", day=3)

# %% [markdown] lang="es"
# {{how_to_practice}}

# %% [markdown] lang="en"
# {{how_to_practice}}

# %% exercises=3

# %% [markdown] lang="es"
# ## ¿Hasta dónde llegaste?
#
# Mañana, la [práctica del día 4](practice_day4.ipynb). La [página de inicio](index.ipynb) lleva a todo lo demás.

# %% [markdown] lang="en"
# ## How far are you?
#
# Tomorrow, the [practice for day 4](practice_day4.ipynb). The [start page](index.ipynb) leads to everything else.

# %%
# %practice 3
